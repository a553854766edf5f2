// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// TestClientEnds: a client may end its direction, and still gets its response.
func TestClientEnds(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.End()
		equal(t, "connection", s.wire.state(), "closed")
	})
	t.Run("within a head", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed("GET /")
		s.End()
		equal(t, "connection", s.wire.state()+s.wire.take()+s.text(), "closed")
	})
	t.Run("behind a request", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(getA)
		s.End()
		equal(t, "connection", s.wire.state(), "")
		s.streams[0].SendHead(status(204, -1), true)
		equal(t, "connection", s.wire.take()+s.wire.state(), none+"closed")
	})
	t.Run("within content", func(t *testing.T) {
		for _, in := range []string{"Content-Length: 2\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX"} {
			s := newServer(h1.Options{})
			s.feed("PUT / HTTP/1.1\r\nHost: a\r\n" + in)
			s.End()
			equal(t, "connection", s.wire.state(), "closed")
			if !strings.HasSuffix(s.text(), "data \"x\"\nreset CANCEL unprocessed=false malformed=false\n") {
				t.Errorf("heard %q", s.text())
			}
		}
	})
	t.Run("within content, half answered", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed("PUT / HTTP/1.0\r\nContent-Length: 2\r\n\r\nx")
		s.streams[0].SendHead(status(200, -1), false)
		s.End()
		equal(t, "connection", s.wire.state(), "reset")
	})
	t.Run("malformed content, half answered", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(chunked(""))
		s.streams[0].SendHead(status(200, -1), false)
		s.feed("x")
		equal(t, "connection", s.wire.state(), "reset")
		if !strings.HasSuffix(s.text(), malformed) || strings.Contains(string(s.wire.out), "400") {
			t.Errorf("heard %q, sent %q", s.text(), s.wire.out)
		}
	})
	t.Run("reset", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(getA + getB)
		s.Closed(errors.New("connection reset by peer"))
		equal(t, "heard", s.text(), "GET http://a /a\nend\nreset CANCEL unprocessed=false malformed=false\n")
		s.streams[0].SendHead(status(204, -1), true)
		equal(t, "sent", s.wire.take(), "")
	})
}

// TestEndBehindHeldRequests: they are served before the connection is closed.
func TestEndBehindHeldRequests(t *testing.T) {
	t.Run("until later", func(t *testing.T) {
		var later func()
		s := newServer(h1.Options{Later: func(f func()) { later = f }})
		s.feed(getA + getB)
		s.streams[0].SendHead(status(204, -1), true)
		s.End()
		equal(t, "connection", s.wire.state(), "")
		later()
		s.streams[1].SendHead(status(204, -1), true)
		later()
		equal(t, "connection", s.wire.take()+s.wire.state(), none+none+"closed")
	})
	t.Run("until there is room", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(getA + getB)
		s.streams[0].SendHead(status(200, 300<<10), false)
		s.streams[0].SendData(make([]byte, 300<<10), true)
		s.End()
		if equal(t, "connection", s.wire.state(), ""); len(s.streams) != 1 {
			t.Error("another request was let in")
		}
		s.wire.take()
		s.Drained()
		s.streams[1].SendHead(status(204, -1), true)
		equal(t, "connection", s.wire.take()+s.wire.state(), none+"closed")
	})
}

func TestGoAway(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.GoAway()
		equal(t, "connection", s.wire.state(), "closed")
	})
	t.Run("before the response", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(getA + getB)
		s.GoAway()
		s.streams[0].SendHead(status(204, -1), true)
		equal(t, "sent", s.wire.take(), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		equal(t, "connection", s.wire.state(), "closed")
		if len(s.streams) != 1 {
			t.Error("took another request on")
		}
	})
	t.Run("within the response", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed(getA)
		s.streams[0].SendHead(status(200, 1), false)
		s.GoAway()
		equal(t, "connection", s.wire.state(), "")
		s.streams[0].SendData([]byte("x"), true)
		equal(t, "connection", s.wire.state(), "closed")
	})
	t.Run("within a head", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.feed("GET")
		s.GoAway()
		equal(t, "connection", s.wire.state(), "")
		s.feed(" / HTTP/1.1\r\nHost: a\r\n\r\n")
		s.streams[0].SendHead(status(204, -1), true)
		equal(t, "sent", s.wire.take(), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	t.Run("from within", func(t *testing.T) {
		s := newServer(h1.Options{})
		s.prepare = func(st message.Stream, r *recorder) {
			r.onHead = func(*message.Head, bool) {
				st.SendHead(status(204, -1), true)
				s.GoAway()
			}
		}
		s.feed(getA)
		equal(t, "connection", s.wire.state(), "closed")
	})
}

// TestExpect: the head goes on at once, 100 comes back, also for a client that
// does not wait for it.
func TestExpect(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	st := s.streams[0]
	st.SendHead(status(100, -1), false)
	equal(t, "sent", s.wire.take(), "HTTP/1.1 100 Continue\r\n\r\n")
	s.feed("hi")
	st.SendHead(status(204, -1), true)
	equal(t, "sent", s.wire.take(), none)

	s.feed("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	s.streams[1].SendHead(status(417, 0), true)
	equal(t, "sent", s.wire.take(), "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

	s = newServer(h1.Options{})
	s.feed("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
	s.streams[0].SendHead(status(100, -1), false)
	equal(t, "sent to HTTP/1.0", s.wire.take(), "")
}

// TestBrokenPromises: what does not fit its head must not look as if it did.
func TestBrokenPromises(t *testing.T) {
	for name, send := range map[string]func(message.Stream){
		"too much":             func(s message.Stream) { s.SendHead(status(200, 1), false); s.SendData([]byte("ab"), true) },
		"too little":           func(s message.Stream) { s.SendHead(status(200, 3), false); s.SendData([]byte("ab"), true) },
		"nothing of it":        func(s message.Stream) { s.SendHead(status(200, 3), true) },
		"trailers too early":   func(s message.Stream) { s.SendHead(status(200, 3), false); s.SendHead(trailers(), true) },
		"data before the head": func(s message.Stream) { s.SendData([]byte("ab"), true) },
		"trailers alone":       func(s message.Stream) { s.SendHead(trailers(), true) },
		"two heads":            func(s message.Stream) { s.SendHead(status(200, 3), false); s.SendHead(status(200, 3), true) },
		"101 to none":          func(s message.Stream) { s.SendHead(status(101, -1), false) },
		"reset":                func(s message.Stream) { s.Reset(message.InternalError) },
		"CRLF in a value":      func(s message.Stream) { s.SendHead(with(status(200, 0), "x", "a\r\nb: c"), true) },
		"CRLF in an interim":   func(s message.Stream) { s.SendHead(with(status(103, -1), "x", "a\r\nb: c"), false) },
		"CRLF in a name":       func(s message.Stream) { s.SendHead(with(status(200, 0), "x\r\nb", "c"), true) },
		"CRLF in a trailer": func(s message.Stream) {
			s.SendHead(status(200, -1), false)
			s.SendHead(with(trailers(), "x", "\n"), true)
		},
	} {
		s := newServer(h1.Options{})
		s.feed(getA + getB)
		send(s.streams[0])
		equal(t, name, s.wire.state(), "reset")
		if strings.Contains(string(s.wire.out), "\r\nb:") || len(s.streams) != 1 {
			t.Errorf("%s: sent %q, %d requests", name, s.wire.out, len(s.streams))
		}
		s.Closed(nil)
	}
}

func trailers() *message.Head { return &message.Head{Kind: message.Trailers, ContentLength: -1} }

func with(h *message.Head, name, value string) *message.Head {
	h.Fields = append(h.Fields, &message.Field{Name: name, Value: value})
	return h
}
