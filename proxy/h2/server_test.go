// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"errors"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// rule is what one role must do with frames that come after the handshake.
type rule struct {
	name   string
	frames [][]byte
	out    []string
	err    message.Code // of the connection; its GOAWAY is expected last in out
	events []string     // of all streams
}

func (r rule) check(t *testing.T, g *rig) {
	t.Helper()
	err := g.feed(r.frames...)
	expect(t, "output", g.output(), r.out...)
	var e *Error
	switch {
	case err == nil && r.err != 0:
		t.Errorf("no error, want %v", r.err)
	case err != nil && !errors.As(err, &e):
		t.Errorf("error is %v", err)
	case err != nil && (e.Code != r.err || !strings.HasPrefix(err.Error(), "http2: ")):
		t.Errorf("error is %v, want %v", err, r.err)
	}
	if r.events != nil {
		var events []string
		for _, s := range g.streams {
			events = append(events, s.events...)
		}
		expect(t, "events", events, r.events...)
	}
	g.c.Closed(nil)
	if again := g.feed(); err != nil && !errors.Is(again, err) {
		t.Errorf("after Closed the error is %v", again)
	}
	if g.w.lent != 0 || g.c.open != 0 {
		t.Errorf("after Closed %d buffers are lent, %d streams open", g.w.lent, g.c.open)
	}
}

const (
	goAway1Protocol = "GOAWAY 1 PROTOCOL_ERROR"
	goAway0Protocol = "GOAWAY 0 PROTOCOL_ERROR"
	get1            = "GET http://a/"
)

func TestServerRules(t *testing.T) {
	rules := []rule{
		// 3.4, 6.5: SETTINGS.
		{name: "settings are acknowledged", frames: [][]byte{settings(1, 100)}, out: []string{"SETTINGS ack"}},
		{name: "unknown setting", frames: [][]byte{settings(0xff, 1)}, out: []string{"SETTINGS ack"}},
		{name: "settings ack", frames: [][]byte{raw(frameSettings, flagAck, 0, "")}},
		{name: "settings ack with payload", frames: [][]byte{raw(frameSettings, flagAck, 0, "123456")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "settings on a stream", frames: [][]byte{raw(frameSettings, 0, 1, "")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "settings of a bad length", frames: [][]byte{raw(frameSettings, 0, 0, "12345")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "enable push 2", frames: [][]byte{settings(2, 2)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "enable push 1 from a client", frames: [][]byte{settings(2, 1)}, out: []string{"SETTINGS ack"}},
		{name: "window above 2^31-1", frames: [][]byte{settings(4, 1<<31)}, err: message.FlowControlError, out: []string{"GOAWAY 0 FLOW_CONTROL_ERROR"}},
		{name: "max frame size too small", frames: [][]byte{settings(5, 16383)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "max frame size too large", frames: [][]byte{settings(5, 1<<24)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "connect protocol 2", frames: [][]byte{settings(8, 2)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "connect protocol taken back", frames: [][]byte{settings(8, 1), settings(8, 0)}, err: message.ProtocolError, out: []string{"SETTINGS ack", goAway0Protocol}},

		// 4: frames.
		{name: "unknown frame", frames: [][]byte{raw(0xbe, 0xff, 77, "x")}},
		{name: "frame too long", frames: [][]byte{raw(frameData, 0, 1, strings.Repeat("x", 16385))}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "reserved bit is ignored", frames: [][]byte{raw(framePing, 0, 1<<31, "12345678")}, out: []string{"PING 12345678 ack"}},

		// 5.1: states.
		{name: "request", frames: [][]byte{request(1, true)}, events: []string{get1 + " end"}},
		{name: "request with body", frames: [][]byte{request(1, false), data(1, false, "ab"), data(1, true, "c")}, events: []string{get1, "data ab", "data c end"}},
		{name: "empty end", frames: [][]byte{request(1, false), data(1, true, "")}, events: []string{get1, "data  end"}},
		{name: "request trailers", frames: [][]byte{request(1, false), headers(1, true, "x", "y")}, events: []string{get1, "trailers x=y end"}},
		{name: "trailers without end", frames: [][]byte{request(1, false), headers(1, false, "x", "y")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{get1, "reset PROTOCOL_ERROR malformed"}},
		{name: "trailers with pseudo field", frames: [][]byte{request(1, false), headers(1, true, ":path", "/")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "data on idle", frames: [][]byte{data(1, true, "x")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "data on even idle", frames: [][]byte{request(3, true), data(2, true, "x")}, err: message.ProtocolError, out: []string{"GOAWAY 3 PROTOCOL_ERROR"}},
		{name: "reset on idle", frames: [][]byte{rstStream(1, 8)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "window update on idle", frames: [][]byte{windowUpdate(1, 8)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "continuation on idle", frames: [][]byte{raw(frameContinuation, flagEndHeaders, 1, "")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "data half closed", frames: [][]byte{request(1, true), data(1, true, "x")}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}, events: []string{get1 + " end", "reset STREAM_CLOSED malformed"}},
		{name: "headers half closed", frames: [][]byte{request(1, true), headers(1, true, "x", "y")}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}},
		{name: "window update half closed", frames: [][]byte{request(1, true), windowUpdate(1, 5)}},
		{name: "data after the client's reset", frames: [][]byte{request(1, false), rstStream(1, 8), data(1, false, "x")}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}, events: []string{get1, "reset CANCEL"}},
		{name: "headers after the client's reset", frames: [][]byte{request(1, false), rstStream(1, 8), headers(1, true, "x", "y")}, err: message.StreamClosed, out: []string{"GOAWAY 1 STREAM_CLOSED"}},
		{name: "window update and reset after reset", frames: [][]byte{request(1, false), rstStream(1, 8), windowUpdate(1, 8), rstStream(1, 8)}},
		{name: "frames after our reset", frames: [][]byte{request(1, true), data(1, true, ""), data(1, true, ""), headers(1, true, "x", "y"), windowUpdate(1, 0), rstStream(1, 8)}, out: []string{"RST_STREAM 1 STREAM_CLOSED"}},

		// 5.1.1: identifiers.
		{name: "even", frames: [][]byte{request(2, true)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "zero", frames: [][]byte{request(0, true)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "lower", frames: [][]byte{request(5, true), request(3, true)}, err: message.ProtocolError, out: []string{"GOAWAY 5 PROTOCOL_ERROR"}, events: []string{get1 + " end", "reset PROTOCOL_ERROR malformed"}},
		{name: "skipped", frames: [][]byte{request(5, true), request(99, true)}, events: []string{get1 + " end", get1 + " end"}},

		// 5.3: priority.
		{name: "priority", frames: [][]byte{raw(framePriority, 0, 1, "\x00\x00\x00\x03\x10")}},
		{name: "priority on stream 0", frames: [][]byte{raw(framePriority, 0, 0, "\x00\x00\x00\x03\x10")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "priority of a bad length", frames: [][]byte{request(1, false), raw(framePriority, 0, 1, "\x00\x00\x00\x03")}, out: []string{"RST_STREAM 1 FRAME_SIZE_ERROR"}},
		{name: "priority of a bad length on idle", frames: [][]byte{raw(framePriority, 0, 1, "\x00\x00\x00\x03")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "depends on itself", frames: [][]byte{request(1, false), raw(framePriority, 0, 1, "\x00\x00\x00\x01\x10")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "headers with priority", frames: [][]byte{raw(frameHeaders, flagEndHeaders|flagPriority|flagEndStream, 1, "\x00\x00\x00\x00\x10"+block(get...))}, events: []string{get1 + " end"}},
		{name: "headers depend on themselves", frames: [][]byte{raw(frameHeaders, flagEndHeaders|flagPriority|flagEndStream, 1, "\x80\x00\x00\x01\x10"+block(get...))}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: nil},
		{name: "headers too short for priority", frames: [][]byte{raw(frameHeaders, flagEndHeaders|flagPriority, 1, "\x00\x00\x00\x00")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},

		// 6.1: padding.
		{name: "padded", frames: [][]byte{raw(frameHeaders, flagEndHeaders|flagPadded, 1, "\x02"+block(get...)+"\x00\x00"), raw(frameData, flagPadded|flagEndStream, 1, "\x03abc\x00\x00\x00")}, events: []string{get1, "data abc end"}},
		{name: "all padding", frames: [][]byte{request(1, false), raw(frameData, flagPadded|flagEndStream, 1, "\x03\x00\x00\x00")}, events: []string{get1, "data  end"}},
		{name: "padding too long", frames: [][]byte{request(1, false), raw(frameData, flagPadded, 1, "\x04\x00\x00\x00")}, err: message.ProtocolError, out: []string{goAway1Protocol}},
		{name: "no length of padding", frames: [][]byte{request(1, false), raw(frameData, flagPadded, 1, "")}, err: message.FrameSizeError, out: []string{"GOAWAY 1 FRAME_SIZE_ERROR"}},
		{name: "padding of headers too long", frames: [][]byte{raw(frameHeaders, flagEndHeaders|flagPadded, 1, "\x09abc")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "data on stream 0", frames: [][]byte{data(0, true, "")}, err: message.ProtocolError, out: []string{goAway0Protocol}},

		// 6.2, 6.10: header blocks.
		{name: "continuation", frames: [][]byte{raw(frameHeaders, flagEndStream, 1, block(get...)[:9]), raw(frameContinuation, 0, 1, ""), raw(frameContinuation, flagEndHeaders, 1, block(get...)[9:])}, events: []string{get1 + " end"}},
		{name: "block is interrupted", frames: [][]byte{raw(frameHeaders, 0, 1, ""), raw(framePing, 0, 0, "12345678")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "block is interrupted by an unknown frame", frames: [][]byte{raw(frameHeaders, 0, 1, ""), raw(0xbe, 0, 0, "12345678")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "continuation of another stream", frames: [][]byte{raw(frameHeaders, 0, 1, ""), raw(frameContinuation, 0, 3, "")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "continuation after the end", frames: [][]byte{request(1, false), raw(frameContinuation, 0, 1, "")}, err: message.ProtocolError, out: []string{goAway1Protocol}},
		{name: "compression error", frames: [][]byte{raw(frameHeaders, flagEndHeaders, 1, "\xff\xff\xff\xff\xff\xff")}, err: message.CompressionError, out: []string{"GOAWAY 0 COMPRESSION_ERROR"}},

		// 6.4 to 6.9: the other frames.
		{name: "reset", frames: [][]byte{request(1, false), rstStream(1, message.Cancel)}, events: []string{get1, "reset CANCEL"}},
		{name: "refused by a client says nothing", frames: [][]byte{request(1, false), rstStream(1, message.RefusedStream)}, events: []string{get1, "reset REFUSED_STREAM"}},
		{name: "reset on stream 0", frames: [][]byte{rstStream(0, 8)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "reset of a bad length", frames: [][]byte{request(1, false), raw(frameRSTStream, 0, 1, "123")}, err: message.FrameSizeError, out: []string{"GOAWAY 1 FRAME_SIZE_ERROR"}},
		{name: "push promise", frames: [][]byte{request(1, false), raw(framePushPromise, flagEndHeaders, 1, "\x00\x00\x00\x02")}, err: message.ProtocolError, out: []string{goAway1Protocol}},
		{name: "ping", frames: [][]byte{raw(framePing, 0, 0, "12345678")}, out: []string{"PING 12345678 ack"}},
		{name: "ping ack unasked", frames: [][]byte{raw(framePing, flagAck, 0, "12345678")}},
		{name: "ping on a stream", frames: [][]byte{raw(framePing, 0, 1, "12345678")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "ping of a bad length", frames: [][]byte{raw(framePing, 0, 0, "1234567")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "goaway", frames: [][]byte{request(1, true), raw(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00debug")}, events: []string{get1 + " end"}},
		{name: "goaway on a stream", frames: [][]byte{raw(frameGoAway, 0, 1, "\x00\x00\x00\x00\x00\x00\x00\x00")}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "goaway of a bad length", frames: [][]byte{raw(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "window update of a bad length", frames: [][]byte{raw(frameWindowUpdate, 0, 0, "123")}, err: message.FrameSizeError, out: []string{"GOAWAY 0 FRAME_SIZE_ERROR"}},
		{name: "window update of 0", frames: [][]byte{windowUpdate(0, 0)}, err: message.ProtocolError, out: []string{goAway0Protocol}},
		{name: "window update of 0 on a stream", frames: [][]byte{request(1, true), windowUpdate(1, 0)}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{get1 + " end", "reset PROTOCOL_ERROR malformed"}},
		{name: "window overflows", frames: [][]byte{windowUpdate(0, 1<<31-1)}, err: message.FlowControlError, out: []string{"GOAWAY 0 FLOW_CONTROL_ERROR"}},
		{name: "window of a stream overflows", frames: [][]byte{request(1, true), windowUpdate(1, 1<<31-1)}, out: []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}},
		{name: "setting makes a window overflow", frames: [][]byte{request(1, true), windowUpdate(1, 1<<30), settings(4, 1<<30+1<<20)}, err: message.FlowControlError, out: []string{"SETTINGS ack", "GOAWAY 1 FLOW_CONTROL_ERROR"}},

		// 8.1.1: content-length.
		{name: "content-length", frames: [][]byte{request(1, false, "content-length", "3"), data(1, false, "ab"), data(1, true, "c")}, events: []string{get1 + " content-length=3", "data ab", "data c end"}},
		{name: "body too short", frames: [][]byte{request(1, false, "content-length", "3"), data(1, true, "ab")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}, events: []string{get1 + " content-length=3", "reset PROTOCOL_ERROR malformed"}},
		{name: "body too long", frames: [][]byte{request(1, false, "content-length", "1"), data(1, false, "ab")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "no body", frames: [][]byte{request(1, true, "content-length", "1")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "body too short with trailers", frames: [][]byte{request(1, false, "content-length", "3"), data(1, false, "ab"), headers(1, true, "x", "y")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{name: "length of several frames too long", frames: [][]byte{request(1, false, "content-length", "3"), data(1, false, "ab"), data(1, true, "cd")}, out: []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { r.check(t, newServer(t, Options{})) })
	}
}

func TestServerPreface(t *testing.T) {
	for name, c := range map[string]struct {
		in  string
		err bool
	}{
		"none":             {in: "GET / HTTP/1.1\r\n\r\n", err: true},
		"in part":          {in: preface[:20]},
		"wrong at the end": {in: preface[:23] + "x", err: true},
		"no settings":      {in: preface + string(raw(framePing, 0, 0, "12345678")), err: true},
		"ack for settings": {in: preface + string(raw(frameSettings, flagAck, 0, "")), err: true},
		"whole":            {in: preface + string(settings())},
	} {
		t.Run(name, func(t *testing.T) {
			whole, bytewise := newRig(t, Options{}, true), newRig(t, Options{}, true)
			err := whole.feed([]byte(c.in))
			var err2 error
			for i := range c.in {
				if err2 = bytewise.feed([]byte{c.in[i]}); err2 != nil {
					break
				}
			}
			if (err != nil) != c.err || (err2 != nil) != c.err {
				t.Errorf("errors are %v and %v", err, err2)
			}
			expect(t, "bytewise", bytewise.output(), whole.output()...)
		})
	}
}

func TestServerHandshake(t *testing.T) {
	r := newRig(t, Options{}, true)
	expect(t, "at once", r.output(), "SETTINGS 3=1000 8=1 4=262144 6=65536", "WINDOW_UPDATE 0 983041")
	r.feed([]byte(preface), settings())
	expect(t, "answer", r.output(), "SETTINGS ack")
	r = newRig(t, Options{Limits: Limits{MaxStreams: 7, StreamWindow: 1, MaxHeaderBytes: 9}, ConnWindow: 1}, true)
	expect(t, "at once", r.output(), "SETTINGS 3=7 8=1 4=65535 6=9")
}

func TestServerResponds(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, true), request(3, false))
	r.streams[0].s.SendHead(responseHead(103, "link", "x"), false)
	r.streams[0].s.SendHead(responseHead(200, "a", "b"), false)
	r.streams[0].s.SendData([]byte("hello"), false)
	r.streams[0].s.SendData(nil, false)
	r.streams[0].s.SendHead(trailersHead("grpc-status", "0"), true)
	r.streams[0].s.SendData([]byte("too late"), true)
	expect(t, "output", r.output(), "HEADERS 1 :status=103 link=x", "HEADERS 1 :status=200 a=b", "DATA 1 hello", "HEADERS 1 grpc-status=0 end")

	r.streams[1].s.SendHead(responseHead(200), false)
	r.streams[1].s.SendData([]byte("early"), true)
	expect(t, "response before the end of the request", r.output(), "HEADERS 3 :status=200", "DATA 3 early end", "RST_STREAM 3 NO_ERROR")
	if err := r.feed(data(3, false, "rest"), headers(3, true, "x", "y")); err != nil {
		t.Error(err)
	}
	expect(t, "what comes late", r.output())
	expect(t, "events", r.streams[1].events, get1)
	if r.c.Streams() != 0 {
		t.Errorf("%d streams are open", r.c.Streams())
	}
}

func TestServerRefuses(t *testing.T) {
	r := newServer(t, Options{Limits: Limits{MaxStreams: 2}})
	r.feed(request(1, true), request(3, true), request(5, false), data(5, true, "x"))
	expect(t, "above the limit", r.output(), "RST_STREAM 5 REFUSED_STREAM")
	r.streams[0].s.SendHead(responseHead(200), true)
	r.feed(request(7, true))
	expect(t, "with room again", r.output(), "HEADERS 1 :status=200 end")
	expect(t, "limits", r.limits, LimitStreams)

	r = newServer(t, Options{})
	r.c.accept = func(message.Stream) message.Handler { return nil }
	r.feed(request(1, true))
	expect(t, "not accepted", r.output(), "RST_STREAM 1 REFUSED_STREAM")
}

func TestStreamResetByUs(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, false))
	r.streams[0].s.Reset(message.Cancel)
	r.streams[0].s.Reset(message.Cancel)
	r.streams[0].s.SendHead(responseHead(200), true)
	expect(t, "output", r.output(), "RST_STREAM 1 CANCEL")
	expect(t, "events", r.streams[0].events, get1)
}

// A Handler may do anything from within any call.
func TestHandlerResetsFromWithin(t *testing.T) {
	for _, at := range []string{get1, "data x", "trailers a=b end", "data y end", "drained"} {
		t.Run(at, func(t *testing.T) {
			r := newServer(t, Options{})
			r.accepted = func(rec *recorder) {
				rec.on = func(event string) {
					if event == get1 {
						rec.s.SendData(make([]byte, 70000), false)
					}
					if event == at {
						rec.s.Reset(message.Cancel)
						rec.s.Credit(1)
						rec.s.SendData([]byte("nothing"), true)
					}
				}
			}
			end := data(1, true, "y")
			if strings.HasPrefix(at, "trailers") {
				end = headers(1, true, "a", "b")
			}
			err := r.feed(request(1, false), data(1, false, "x"), end, windowUpdate(0, 70000), windowUpdate(1, 70000), request(3, true))
			if err != nil {
				t.Fatal(err)
			}
			events := r.streams[0].events
			if got := events[len(events)-1]; got != at {
				t.Errorf("last event is %q", got)
			}
			if r.w.lent != 0 && at != get1 { // the second stream's data waits
				t.Logf("%d buffers lent", r.w.lent)
			}
			r.c.Closed(nil)
			if r.w.lent != 0 {
				t.Errorf("%d buffers are lent", r.w.lent)
			}
		})
	}
}
