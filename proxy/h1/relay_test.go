// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// relay joins a server core to a client core as an exchange does.
type relay struct {
	client  *client
	request message.Stream // to the upstream
	answer  message.Stream // to the client
}

func (r *relay) OnHead(h *message.Head, end bool) {
	if h.Kind == message.Request {
		r.request = r.client.Open((*relayBack)(r))
	}
	r.request.SendHead(h, end)
}

func (r *relay) OnData(p []byte, end bool) {
	r.request.SendData(p, end)
	r.answer.Credit(len(p))
}
func (r *relay) OnReset(message.Reset) { r.request.Reset(message.Cancel) }
func (r *relay) OnDrained()            {}

type relayBack relay

func (r *relayBack) OnHead(h *message.Head, end bool) { r.answer.SendHead(h, end) }
func (r *relayBack) OnData(p []byte, end bool) {
	r.answer.SendData(p, end)
	r.request.Credit(len(p))
}
func (r *relayBack) OnReset(message.Reset) { r.answer.Reset(message.InternalError) }
func (r *relayBack) OnDrained()            {}

func newRelay() (*wire, *h1.Server, *client) {
	o := h1.Options{Interner: &message.Interner{}}
	r := &relay{client: newClient(o)}
	w := &wire{}
	s := h1.NewServer(w, o, func(st message.Stream) message.Handler {
		r.answer = st
		return r
	})
	return w, s, r.client
}

// TestTransparent: what passes from peer to peer of the same version comes out
// as it went in, octet for octet, but for what concerns one hop. It passes
// several times, since caches join in.
func TestTransparent(t *testing.T) {
	for _, test := range []struct{ in, out string }{
		{"GET //x?y HTTP/1.1\r\nHost: a\r\nUser-Agent: curl\r\nx-ODD-case:v \r\nX-Odd-Case: \tw\r\nAccept: */*\r\n\r\n", ""},
		{"POST / HTTP/1.1\r\nHost: a\r\nB: 1\r\ncontent-length: 5\r\nA: 2\r\n\r\nhello", ""},
		{"POST / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n", ""},
		{
			"GET / HTTP/1.1\r\nA: 1\r\nHost: a\r\nConnection: keep-alive, X\r\nX: y\r\nKeep-Alive: 300\r\nB: 2\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n",
		},
		{"GET http://b/ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n"},
	} {
		if test.out == "" {
			test.out = test.in
		}
		w, s, c := newRelay()
		for i := range 5 {
			if err := s.Receive([]byte(test.in)); err != nil {
				t.Fatal(err)
			}
			equal(t, "request", c.wire.take(), test.out)
			const answer = "HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-length: 2\r\nDate: now\r\n\r\nhi"
			c.feed(answer)
			got := w.take()
			if i == 0 && got != answer {
				equal(t, "answer", got, "HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-length: 2\r\nDate: now\r\nConnection: keep-alive\r\n\r\nhi")
			}
		}
	}
}

// TestToTheEndBecomesChunks: content that ends with its connection needs none
// on the other side.
func TestToTheEndBecomesChunks(t *testing.T) {
	w, s, c := newRelay()
	s.Receive([]byte(getA))
	c.feed("HTTP/1.1 200 OK\r\n\r\nhello")
	c.End()
	equal(t, "answer", w.take()+w.state(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
}

// TestNoAllocations: a request that came before costs none, on its way through
// both cores and back.
func TestNoAllocations(t *testing.T) {
	w, s, c := newRelay()
	roundTrip := roundTripper(t, w, s, c)
	for range 5 {
		roundTrip()
	}
	if n := testing.AllocsPerRun(1000, roundTrip); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

const (
	curl = "GET /some/path?with=query HTTP/1.1\r\nHost: greeter.default.svc.cluster.local:8080\r\nUser-Agent: curl/8.5.0\r\n" +
		"Accept: */*\r\nAccept-Encoding: gzip, br\r\nX-Forwarded-For: 10.0.0.1\r\nX-Tenant: blue\r\nConnection: keep-alive\r\n\r\n"
	hundred = "HTTP/1.1 200 OK\r\nServer: fasthttp\r\nDate: Sat, 21 Nov 2026 14:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Cache-Control: no-store\r\nContent-Length: 100\r\n\r\n" +
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
)

func roundTripper(t testing.TB, w *wire, s *h1.Server, c *client) func() {
	request, answer := []byte(curl), []byte(hundred)
	return func() {
		if err := s.Receive(request); err != nil {
			t.Fatal(err)
		}
		if len(c.wire.out) == 0 {
			t.Fatal("no request")
		}
		c.wire.out = c.wire.out[:0]
		if err := c.Receive(answer); err != nil {
			t.Fatal(err)
		}
		if len(w.out) != len(answer) {
			t.Fatalf("answer of %d octets", len(w.out))
		}
		w.out = w.out[:0]
	}
}

// BenchmarkRelay is a keep-alive GET through both cores and its answer of 100
// octets back. "warm" has heads that came before, "new" has paths that did not,
// and a date that changes every 10000 requests.
func BenchmarkRelay(b *testing.B) {
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		w, s, c := newRelay()
		f := roundTripper(b, w, s, c)
		for b.Loop() {
			f()
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		w, s, c := newRelay()
		request, answer := []byte(curl), []byte(hundred)
		n := 0
		for b.Loop() {
			for i, v := 0, n; i < 6; i, v = i+1, v/10 {
				request[14-i] = byte('0' + v%10)
			}
			answer[60] = byte('0' + n/10000%10)
			n++
			if s.Receive(request) != nil {
				b.Fatal("refused")
			}
			c.wire.out = c.wire.out[:0]
			if c.Receive(answer) != nil {
				b.Fatal("malformed")
			}
			w.out = w.out[:0]
		}
	})
}

// TestRemembersHeads: what comes again is remembered, unless it is long, and
// also where there are more than are remembered, in turn.
func TestRemembersHeads(t *testing.T) {
	long := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1024) + "\r\n\r\n"
	for _, test := range []struct {
		name     string
		requests []string
		least    int // of 30
		most     int
	}{
		{"one", []string{getA}, 28, 28},
		{"three", []string{getA, getB, ok + "\r\n"}, 15, 20},
		{"long", []string{long}, 0, 0},
	} {
		s, stable := newServer(h1.Options{}), 0
		s.prepare = func(st message.Stream, r *recorder) {
			r.onHead = func(h *message.Head, _ bool) {
				if h.Stable {
					stable++
				}
				st.SendHead(status(204, -1), true)
			}
		}
		for i := range 30 {
			s.feed(test.requests[i%len(test.requests)])
		}
		if stable < test.least || stable > test.most {
			t.Errorf("%s: %d of 30 were remembered", test.name, stable)
		}
	}
}
