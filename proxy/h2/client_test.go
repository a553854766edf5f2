// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

func status(id uint32, end bool, code string, more ...string) []byte {
	return headers(id, end, append([]string{":status", code}, more...)...)
}

func goAway(last uint32, code message.Code) []byte {
	return raw(frameGoAway, 0, 0, string([]byte{byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last), 0, 0, 0, byte(code)}))
}

// TestClientRules opens a request on stream 1, POST unless the name of the rule
// begins with another method, which does not end.
func TestClientRules(t *testing.T) {
	rules := []rule{
		{name: "response", frames: [][]byte{status(1, false, "200", "a", "b"), data(1, false, "x"), headers(1, true, "grpc-status", "0")}, events: []string{"200 a=b", "data x", "trailers grpc-status=0 end"}},
		{name: "trailers only", frames: [][]byte{status(1, true, "200")}, events: []string{"200 end"}},
		{name: "informational", frames: [][]byte{status(1, false, "100"), status(1, false, "103", "a", "b"), status(1, true, "200")}, events: []string{"100", "103 a=b", "200 end"}},
		{name: "informational that ends", frames: [][]byte{status(1, true, "100")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{"reset PROTOCOL_ERROR malformed"}},
		{name: "switching protocols", frames: [][]byte{status(1, false, "101")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{"reset PROTOCOL_ERROR malformed"}},
		{name: "data before the head", frames: [][]byte{data(1, false, "x")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{"reset PROTOCOL_ERROR malformed"}},
		{name: "data after an informational head", frames: [][]byte{status(1, false, "100"), data(1, false, "x")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "data after the end", frames: [][]byte{status(1, true, "200"), data(1, false, "x")}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}},
		{name: "head after the end", frames: [][]byte{status(1, true, "200"), status(1, true, "200")}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}},
		{name: "second final head", frames: [][]byte{status(1, false, "200"), status(1, true, "200")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "trailers without end", frames: [][]byte{status(1, false, "200"), headers(1, false, "a", "b")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "no status", frames: [][]byte{headers(1, true, "a", "b")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "head on idle", frames: [][]byte{status(3, true, "200")}, err: message.ProtocolError, out: []string{goAway0Protocol}, events: []string{"reset PROTOCOL_ERROR malformed"}},
		{name: "head on a server's stream", frames: [][]byte{status(2, true, "200")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "data on idle", frames: [][]byte{data(3, true, "")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "refused", frames: [][]byte{rstStream(1, message.RefusedStream)}, events: []string{"reset REFUSED_STREAM unprocessed"}},
		{name: "reset", frames: [][]byte{status(1, false, "200"), rstStream(1, message.InternalError)}, events: []string{"200", "reset INTERNAL_ERROR"}},
		{name: "late frames", frames: [][]byte{rstStream(1, 8), status(1, false, "200"), data(1, true, "x"), windowUpdate(1, 0)}, events: []string{"reset CANCEL"}},
		{name: "push promise", frames: [][]byte{raw(framePushPromise, flagEndHeaders, 1, "\x00\x00\x00\x02"+block(get...))}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "enable push 1 from a server", frames: [][]byte{settings(2, 1)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "enable push 0 from a server", frames: [][]byte{settings(2, 0)}, out: []string{"SETTINGS ack"}},
		{name: "end before that of the request", frames: [][]byte{status(1, true, "200"), rstStream(1, message.NoError)}, events: []string{"200 end", "reset NO_ERROR"}},

		{name: "content-length", frames: [][]byte{status(1, false, "200", "content-length", "1"), data(1, true, "x")}, events: []string{"200 content-length=1", "data x end"}},
		{name: "body too short", frames: [][]byte{status(1, false, "200", "content-length", "2"), data(1, true, "x")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{"200 content-length=2", "reset PROTOCOL_ERROR malformed"}},
		{name: "no body", frames: [][]byte{status(1, true, "200", "content-length", "2")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "304 has no body", frames: [][]byte{status(1, true, "304", "content-length", "2")}, events: []string{"304 content-length=2 end"}},
		{name: "204 has no body", frames: [][]byte{status(1, false, "204"), data(1, true, "x")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "HEAD has no body", frames: [][]byte{status(1, true, "200", "content-length", "2")}, events: []string{"200 content-length=2 end"}},
		{name: "HEAD with an empty frame", frames: [][]byte{status(1, false, "200", "content-length", "2"), data(1, true, "")}, events: []string{"200 content-length=2", "data  end"}},
		{name: "CONNECT has no length", frames: [][]byte{status(1, false, "200", "content-length", "2"), data(1, false, "abcd")}, events: []string{"200 content-length=2", "data abcd"}},
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			g := newClient(t, Options{})
			h := requestHead()
			if method, _, _ := strings.Cut(r.name, " "); method == "HEAD" || method == "CONNECT" {
				h.Method = method
			}
			g.open(h, false)
			g.output()
			r.check(t, g)
		})
	}
}

func TestClientHandshake(t *testing.T) {
	r := newRig(t, Options{}, false)
	expect(t, "at once", r.output(), "SETTINGS 2=0 4=262144 6=65536", "WINDOW_UPDATE 0 983041")
	if got := r.c.Room(); got != 100 {
		t.Errorf("room is %d before SETTINGS", got)
	}
	r.feed(settings(3, 1, 8, 1))
	expect(t, "answer", r.output(), "SETTINGS ack")
	if r.c.Room() != 1 || !r.c.ConnectProtocol() {
		t.Errorf("room is %d, ConnectProtocol %t", r.c.Room(), r.c.ConnectProtocol())
	}
	var e *Error
	if err := newRig(t, Options{}, false).feed([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); !errors.As(err, &e) {
		t.Errorf("an HTTP/1.1 server: %v", err)
	}
}

func TestClientSends(t *testing.T) {
	r := newClient(t, Options{})
	a := r.open(requestHead("te", "trailers", "host", "other", "connection", "close"), false)
	b := r.open(&message.Head{Kind: message.Request, Method: "CONNECT", Authority: "x:1", ContentLength: -1}, false)
	c := r.open(&message.Head{Kind: message.Request, Method: "CONNECT", Authority: "x", Path: "/c", Protocol: "websocket", ContentLength: -1}, true)
	a.s.SendData([]byte("hi"), true)
	if b.s.Unsent() != 0 || c.s.Unsent() != 0 || r.c.Streams() != 3 {
		t.Errorf("%d streams are open", r.c.Streams())
	}
	expect(t, "output", r.output(),
		"HEADERS 1 :method=POST :scheme=http :path=/ :authority=a te=trailers",
		"HEADERS 3 :method=CONNECT :authority=x:1",
		"HEADERS 5 :method=CONNECT :scheme=http :path=/c :authority=x :protocol=websocket end",
		"DATA 1 hi end")
}

func TestClientRoom(t *testing.T) {
	r := newClient(t, Options{}, 3, 2)
	a, b := r.open(requestHead(), true), r.open(requestHead(), true)
	changed := r.changed
	if r.c.Room() != 0 {
		t.Fatalf("room is %d", r.c.Room())
	}
	r.feed(status(1, true, "200"))
	if r.c.Room() != 1 || r.changed != changed+1 {
		t.Errorf("after a response: room is %d, changed called %d times", r.c.Room(), r.changed-changed)
	}
	r.open(requestHead(), true)
	b.s.Reset(message.Cancel)
	if r.c.Room() != 1 || r.changed != changed+2 {
		t.Errorf("after a reset: room is %d, changed called %d times", r.c.Room(), r.changed-changed)
	}
	r.feed(settings(3, 0))
	if r.c.Room() != 0 {
		t.Errorf("room is %d with a limit of 0", r.c.Room())
	}
	r.feed(settings(3, 1<<32-1))
	if r.c.Room() < 1<<29 || r.changed != changed+3 {
		t.Errorf("without a limit: room is %d, changed called %d times", r.c.Room(), r.changed-changed)
	}
	r.c.lastID = maxStreamID - 4
	if r.c.Room() != 2 {
		t.Errorf("room is %d with two identifiers left", r.c.Room())
	}
	r.open(requestHead(), true)
	r.open(requestHead(), true)
	if r.c.Room() != 0 || r.c.lastID != maxStreamID {
		t.Errorf("room is %d, last id %d", r.c.Room(), r.c.lastID)
	}
	expect(t, "events", a.events, "200 end")
}

func TestClientGetsGoAway(t *testing.T) {
	r := newClient(t, Options{})
	a, b, c := r.open(requestHead(), true), r.open(requestHead(), true), r.open(requestHead(), true)
	r.changed = 0
	r.feed(goAway(1<<31-1, message.NoError))
	if r.c.Room() != 0 || !r.c.goingAway() || r.changed != 1 {
		t.Errorf("room is %d, going away %t, changed called %d times", r.c.Room(), r.c.goingAway(), r.changed)
	}
	r.feed(goAway(3, message.NoError))
	expect(t, "events above the last", c.events, "reset REFUSED_STREAM unprocessed")
	r.feed(status(1, true, "200"))
	if r.w.closed {
		t.Error("closed with a stream open")
	}
	r.feed(status(3, true, "200"))
	expect(t, "events below the last", append(a.events, b.events...), "200 end", "200 end")
	if !r.w.closed {
		t.Error("not closed after the last stream")
	}
}

func TestClientGoesAway(t *testing.T) {
	r := newClient(t, Options{})
	r.open(requestHead(), true)
	r.output()
	r.c.GoAway()
	r.c.GoAway()
	expect(t, "output", r.output(), goAwayText(0, message.NoError))
	if r.c.Room() != 0 || r.w.closed {
		t.Errorf("room is %d, closed %t", r.c.Room(), r.w.closed)
	}
	r.feed(status(1, true, "200"))
	if !r.w.closed {
		t.Error("not closed after the last stream")
	}
}

func goAwayText(last uint32, code message.Code) string {
	return fmt.Sprintf("GOAWAY %d %v", last, code)
}

func TestServerGoesAway(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, true))
	r.c.GoAway()
	r.c.GoAway()
	expect(t, "warning", r.output(), goAwayText(1<<31-1, message.NoError), "PING leaving?")
	r.feed(request(3, true), raw(framePing, flagAck, 0, pingLeave), request(5, false), data(5, true, "x"))
	expect(t, "a round trip later", r.output(), goAwayText(3, message.NoError))
	if len(r.streams) != 2 {
		t.Fatalf("%d requests were accepted", len(r.streams))
	}
	r.streams[0].s.SendHead(responseHead(200), true)
	if r.w.closed {
		t.Error("closed with a stream open")
	}
	r.streams[1].s.SendHead(responseHead(200), true)
	if !r.w.closed {
		t.Error("not closed after the last stream")
	}
	if err := r.feed(request(7, true)); err != nil || len(r.streams) != 2 {
		t.Errorf("a request to a closed connection: %v", err)
	}
	idle := newServer(t, Options{})
	idle.c.GoAway()
	if idle.w.closed {
		t.Error("closed before the round trip")
	}
	idle.feed(raw(framePing, flagAck, 0, pingLeave))
	if !idle.w.closed {
		t.Error("not closed though idle")
	}
}

func TestConnectionLost(t *testing.T) {
	errReset := errors.New("connection reset")
	for name, c := range map[string]struct {
		settled bool
		want    string
	}{
		"before SETTINGS": {false, "reset REFUSED_STREAM unprocessed"},
		"after SETTINGS":  {true, "reset CONNECT_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{}, false)
			if c.settled {
				r.feed(settings())
			}
			a := r.open(requestHead(), false)
			a.s.SendData(make([]byte, 100000), false)
			r.c.Closed(errReset)
			expect(t, "events", a.events, c.want)
			if r.c.Room() != 0 || r.w.lent != 0 {
				t.Errorf("room is %d, %d buffers are lent", r.c.Room(), r.w.lent)
			}
		})
	}
	r := newServer(t, Options{})
	r.feed(request(1, true))
	if err := r.c.End(); err == nil {
		t.Error("End with a stream open is no error")
	}
	r.c.Closed(nil)
	expect(t, "events", r.streams[0].events, get1+" end", "reset CANCEL")
	r = newServer(t, Options{})
	if err := r.c.End(); err != nil || !r.w.closed {
		t.Errorf("End when idle: %v, closed %t", err, r.w.closed)
	}
	r = newServer(t, Options{})
	r.feed([]byte{0, 0})
	if err := r.c.End(); err == nil {
		t.Error("End within a frame is no error")
	}
}
