// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

func TestNothingFollowsTheEnd(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 3)
	sent, waits, open := r.open(requestHead(), false), r.open(requestHead(), false), r.open(requestHead(), false)
	r.output()
	sent.s.SendData([]byte("abc"), true)
	sent.s.SendData(nil, true)
	sent.s.SendHead(trailersHead("x", "y"), true)
	waits.s.SendData([]byte("abcd"), true)
	waits.s.SendData([]byte("e"), false)
	waits.s.SendHead(trailersHead("x", "y"), true)
	open.s.SendHead(trailersHead("x", "y"), false) // trailers are the end, whatever is said
	open.s.SendData([]byte("a"), false)
	r.feed(windowUpdate(3, 100))
	expect(t, "output", r.output(), "DATA 1 abc end", "DATA 3 abc", "HEADERS 5 x=y end", "DATA 3 d end")
}

// Trailers that wait are kept, even if their head is soon another one.
func TestTrailersThatWait(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 0)
	a := r.open(requestHead(), false)
	r.output()
	a.s.SendData([]byte("abc"), false)
	scratch := trailersHead("x", "y")
	scratch.Stable = false
	a.s.SendHead(scratch, true)
	scratch.Fields[0] = &message.Field{Name: "other", Value: "field"}
	r.feed(windowUpdate(1, 3))
	expect(t, "output", r.output(), "DATA 1 abc", "HEADERS 1 x=y end")
}

func TestPaddingIsCredited(t *testing.T) {
	r := newServer(t, Options{})
	r.accepted = func(rec *recorder) { rec.quiet = true }
	r.feed(request(1, false), raw(frameData, flagPadded, 1, "\x03abc\x00\x00\x00"))
	s := r.c.streams.get(1)
	if s.owed != 4 || s.uncredited != 3 || s.recvWin != int64(r.c.o.StreamWindow)-7 {
		t.Errorf("owed %d, not credited %d, window %d", s.owed, s.uncredited, s.recvWin)
	}
}

// Who has ended needs no window.
func TestNoWindowAfterTheEnd(t *testing.T) {
	r := newServer(t, Options{Limits: Limits{StreamWindow: 65535}})
	r.accepted = func(rec *recorder) { rec.quiet = true }
	chunk := strings.Repeat("x", 16000)
	r.feed(request(1, false), data(1, false, chunk), data(1, false, chunk), data(1, false, chunk), data(1, true, chunk))
	r.output()
	r.streams[0].s.Credit(64000)
	expect(t, "output", r.output())
}

func TestAcceptEndsTheStream(t *testing.T) {
	r := newServer(t, Options{})
	r.accepted = func(rec *recorder) { rec.s.Reset(message.RefusedStream) }
	r.feed(request(1, true))
	r.accepted = func(rec *recorder) { rec.s.SendHead(responseHead(503), true) }
	r.feed(request(3, true))
	expect(t, "output", r.output(), "RST_STREAM 1 REFUSED_STREAM", "HEADERS 3 :status=503 end")
	expect(t, "events", append(r.streams[0].events, r.streams[1].events...))
}

// CONNECT has no content, so no length either.
func TestConnectHasNoLength(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(headers(1, false, ":method", "CONNECT", ":authority", "a", "content-length", "1"), data(1, false, "abc"))
	expect(t, "output", r.output())
	expect(t, "events", r.streams[0].events, "CONNECT ://a content-length=1", "data abc")
}

func TestNothingFollowsGoAway(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, false), request(3, false), request(5, false))
	for _, rec := range r.streams {
		rec.on = func(string) { // a handler that gives up on all others
			for _, other := range r.streams {
				other.s.Reset(message.Cancel)
			}
			r.c.GoAway()
		}
	}
	r.feed(data(0, false, ""))
	expect(t, "output", r.output(), "GOAWAY 5 PROTOCOL_ERROR")
	if r.c.open != 0 {
		t.Errorf("%d streams are open", r.c.open)
	}

	r = newServer(t, Options{})
	r.c.GoAway()
	r.output()
	r.feed(raw(framePing, flagAck, 0, pingLeave), raw(framePing, flagAck, 0, pingLeave), raw(framePing, 0, 0, "12345678"))
	expect(t, "output after the last one", r.output(), "GOAWAY 0 NO_ERROR")

	r = newServer(t, Options{})
	r.feed(request(1, true))
	r.c.GoAway()
	r.output()
	ack := raw(framePing, flagAck, 0, pingLeave)
	r.feed(ack, request(3, true), ack, request(5, true), data(0, true, ""))
	expect(t, "the last stream does not rise", r.output(), "GOAWAY 1 NO_ERROR", "GOAWAY 1 PROTOCOL_ERROR")
}

func TestWhatIsSoon(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		want   int
	}{
		"no answer":     {0, 1},
		"informational": {103, 1},
		"final":         {200, 0},
	} {
		r := newServer(t, Options{})
		r.feed(request(1, true))
		if c.status != 0 {
			r.streams[0].s.SendHead(responseHead(c.status), false)
		}
		r.feed(rstStream(1, message.Cancel))
		if r.c.resets != c.want {
			t.Errorf("%s: %d resets are counted", name, r.c.resets)
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent
	for id := uint32(1); id < 2*100; id += 2 {
		r.add(id, id%4 == 1)
		for old := uint32(1); old <= id; old += 2 {
			known, reset := r.find(old)
			if want := id-old < 2*recentLen; known != want || reset != (want && old%4 == 1) {
				t.Fatalf("after %d: find(%d) is %t, %t", id, old, known, reset)
			}
		}
	}
}

// A block of fields alone may be trailers, which it was before, and no response.
func TestCachedTrailersAreNoResponse(t *testing.T) {
	r := newClient(t, Options{})
	const insert, again = "\x40\x01x\x01y", "\xbe"
	var a *recorder
	for i, block := range []string{insert, again, again, again} {
		a = r.open(requestHead(), true)
		id := uint32(2*i + 1)
		r.feed(status(id, false, "200"), raw(frameHeaders, flagEndHeaders|flagEndStream, id, block))
		expect(t, "events", a.events, "200", "trailers x=y end")
	}
	if len(r.c.received) == 0 {
		t.Fatal("nothing is cached")
	}
	a = r.open(requestHead(), true)
	r.output()
	r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, r.c.lastID, again))
	expect(t, "events", a.events, "reset PROTOCOL_ERROR malformed")
}

func TestPool(t *testing.T) {
	list := func(n int, last string) []*message.Field {
		all := fields(get...)
		for i := range n {
			all = append(all, &message.Field{Name: fmt.Sprint("f", i), Value: "v", Again: true})
		}
		return append(all, &message.Field{Name: "last", Value: last, Again: true})
	}
	var p Pool
	common := list(20, "a")
	h1, _ := p.common(message.Request, common)
	h2, _ := p.common(message.Request, append(common[:len(common)-1:len(common)-1], &message.Field{Name: "last", Value: "b"}))
	if h1 == h2 || h2.Fields[20].Value != "b" {
		t.Error("lists that differ late share a head")
	}
	for range 3 * poolHeads {
		p.common(message.Request, list(0, "x"))
	}
	if len(p.heads) > poolHeads {
		t.Errorf("%d heads are kept", len(p.heads))
	}
	if !worthKeeping(list(1, strings.Repeat("x", keptHeadBytes/2))) || worthKeeping(list(1, strings.Repeat("x", keptHeadBytes))) {
		t.Error("heads are kept by the wrong size")
	}

	p.enter()
	p.enter()
	p.retire(p.stream())
	p.exit()
	if len(p.free) != 0 {
		t.Error("a stream is free within a call")
	}
	p.exit()
	if len(p.free) != 1 {
		t.Error("the stream is not free after the call")
	}
	p.enter()
	for range 2 * poolStreams {
		p.retire(&stream{})
	}
	p.exit()
	if len(p.free) != poolStreams || len(p.ended) != 0 {
		t.Errorf("%d streams are free, %d ended", len(p.free), len(p.ended))
	}
}
