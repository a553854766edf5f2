// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

const (
	getA = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
	getB = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
	none = "HTTP/1.1 204 No Content\r\n\r\n"
)

func TestPersistence(t *testing.T) {
	for _, test := range []struct{ rfc, in, out, state string }{
		{"9112 9.3", getA, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ""},
		{"9112 9.3 close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "closed"},
		{"9112 9.3 close beats", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "closed"},
		{"9112 9.3 HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "closed"},
		{"9112 C.2.2", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", ""},
	} {
		s := newServer(h1.Options{})
		s.feed(test.in)
		if s.Idle() {
			t.Errorf("%s: idle with a request", test.rfc)
		}
		s.streams[0].SendHead(status(200, 2), false)
		s.streams[0].SendData([]byte("hi"), true)
		equal(t, test.rfc, s.wire.take(), test.out)
		equal(t, test.rfc, s.wire.state(), test.state)
		if !s.Idle() {
			t.Errorf("%s: not idle", test.rfc)
		}
	}
}

// TestPipelining: one request at a time, however many came at once, and at
// last the end of the connection (RFC 9112, 9.3.2).
func TestPipelining(t *testing.T) {
	for _, later := range []bool{false, true} {
		var queue []func()
		o := h1.Options{}
		if later {
			o.Later = func(f func()) { queue = append(queue, f) }
		}
		run := func() {
			for len(queue) > 0 {
				f := queue[0]
				queue = queue[1:]
				f()
			}
		}
		everySplit(t, getA+"PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"+getB, func(t *testing.T, pieces []string) {
			s := newServer(o)
			for _, p := range pieces {
				s.feed(p)
			}
			s.End()
			for i := range 3 {
				if len(s.streams) != i+1 {
					t.Fatalf("%d requests, not %d", len(s.streams), i+1)
				}
				s.streams[i].SendHead(status(204, -1), true)
				if later && i < 2 && len(s.streams) != i+1 {
					t.Fatal("the next was accepted within the call")
				}
				run()
			}
			equal(t, "heard", s.text(), "GET http://a /a\nend\nPUT http://a /p length=2 content-length=\"2\"\ndata \"hi\"\nend\nGET http://a /b\nend\n")
			equal(t, "sent", s.wire.take(), none+none+none)
			equal(t, "connection", s.wire.state(), "closed")
		})
	}
}

// TestAnswersWithin answers each request from within OnHead: no recursion, and
// the same bytes.
func TestAnswersWithin(t *testing.T) {
	s := newServer(h1.Options{})
	depth, deepest := 0, 0
	s.prepare = func(st message.Stream, r *recorder) {
		r.onHead = func(*message.Head, bool) {
			depth++
			deepest = max(deepest, depth)
			st.SendHead(status(204, -1), true)
			depth--
		}
	}
	s.feed(strings.Repeat(getA, 1000))
	equal(t, "sent", s.wire.take(), strings.Repeat(none, 1000))
	if deepest != 1 || len(s.streams) != 1000 {
		t.Errorf("%d requests, depth %d", len(s.streams), deepest)
	}
}

// TestHeldInputIsBounded: behind a request that is being answered, reading
// stops.
func TestHeldInputIsBounded(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed(getA)
	for n := 0; !s.wire.paused; n += len(getB) {
		if n > 64<<10 {
			t.Fatal("never paused")
		}
		s.feed(getB)
	}
	for i := 0; s.wire.paused; i++ {
		s.streams[i].SendHead(status(204, -1), true)
	}
	if len(s.streams) == 1 {
		t.Error("paused too early")
	}
}

// TestClientThatDoesNotRead: its next request waits until it has read what was
// too much.
func TestClientThatDoesNotRead(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed(getA + getB)
	a := s.streams[0]
	a.SendHead(status(200, 300<<10), false)
	if a.Unsent() != 0 {
		t.Errorf("%d unsent below the mark", a.Unsent())
	}
	a.SendData(make([]byte, 299<<10), false)
	if n := len(s.wire.out); a.Unsent() != n {
		t.Errorf("%d unsent, not %d", a.Unsent(), n)
	}
	a.SendData(make([]byte, 1<<10), true)
	if len(s.streams) != 1 {
		t.Fatal("another request was taken on")
	}
	s.wire.take()
	s.Drained()
	if len(s.streams) != 2 || s.handlers[0].drains != 0 {
		t.Errorf("%d requests; told of a stream that is over %d times", len(s.streams), s.handlers[0].drains)
	}
	b := s.streams[1]
	b.SendHead(status(200, 1<<20), false)
	b.SendData(make([]byte, 300<<10), false)
	s.wire.take()
	s.Drained()
	if s.handlers[1].drains != 0 {
		t.Error("told of what nobody asked for")
	}
	b.SendData(make([]byte, 300<<10), false)
	if b.Unsent() == 0 {
		t.Error("nothing unsent")
	}
	s.wire.take()
	s.Drained()
	if s.handlers[1].drains != 1 || b.Unsent() != 0 {
		t.Errorf("told %d times, %d unsent", s.handlers[1].drains, b.Unsent())
	}
}

// TestCredit: reading stops at 64 KiB that nobody has disposed of.
func TestCredit(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
	st := s.streams[0]
	s.feed(strings.Repeat("x", 64<<10))
	if s.wire.paused {
		t.Error("paused at 64 KiB")
	}
	s.feed("x")
	if !s.wire.paused {
		t.Error("not paused beyond")
	}
	st.Credit(1)
	if !s.wire.paused {
		t.Error("goes on for one octet")
	}
	st.Credit(32 << 10)
	if s.wire.paused {
		t.Error("still paused")
	}
	s.feed(strings.Repeat("x", 33<<10))
	if !s.wire.paused {
		t.Error("not paused again")
	}
	// Nothing of it matters when the response has ended.
	st.SendHead(status(204, -1), true)
	if s.wire.paused {
		t.Error("paused for nobody")
	}
}

// TestResponseBeforeEndOfRequest closes, since the rest of the request is in
// the way of the next one.
func TestResponseBeforeEndOfRequest(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
	s.streams[0].SendHead(status(413, 0), true)
	equal(t, "sent", s.wire.take(), "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	equal(t, "connection", s.wire.state(), "closed")
	s.Receive([]byte("67890" + getA))
	s.End()
	s.Closed(nil)
	equal(t, "heard", s.text(), "PUT http://a / length=10 content-length=\"10\"\ndata \"12345\"\n")
}
