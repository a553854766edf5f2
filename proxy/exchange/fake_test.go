// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"io"
	"strings"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
)

// fakeStream is a stream of either side. It holds its user to the contract of
// message.Stream, as the cores understand it: nothing is sent behind an end,
// nothing is called when the stream is over but Credit, and each byte is
// credited once.
type fakeStream struct {
	r      *rig
	server bool // the client's side: over as soon as the answer has gone
	tunnel bool // one is asked for: then each direction ends by itself
	h      message.Handler

	full      bool // there is no room for data
	waiting   int
	heads     []*message.Head
	body      []byte
	sendEnded bool
	recvEnded bool
	answered  bool          // the peer sent the head of its answer
	reset     *message.Code // by the exchange
	gone      bool          // by the peer
	over      bool
	overTurn  int

	given, credited int
	ended           func() // may be nil
}

func (s *fakeStream) usable(call string) {
	if s.over && (s.gone || s.overTurn != s.r.turn) {
		s.r.Errorf("%s after the stream was over", call)
	}
}

func (s *fakeStream) end() {
	if s.over {
		return
	}
	s.over, s.overTurn = true, s.r.turn
	if s.ended != nil {
		s.ended()
	}
}

func (s *fakeStream) settle() {
	if s.sendEnded && s.waiting == 0 && (s.recvEnded || s.server) {
		s.end()
	}
}

func (s *fakeStream) SendHead(h *message.Head, end bool) {
	s.usable("SendHead")
	if s.sendEnded {
		s.r.Errorf("a head behind the end")
	}
	if s.over {
		return
	}
	var c message.Head
	h.CopyTo(&c)
	s.heads = append(s.heads, &c)
	s.sendEnded = end || h.Kind == message.Trailers
	if s.server && s.tunnel && opensTunnel(h) {
		s.server = false
		s.recvEnded = s.recvEnded && h.Status != 101
	}
	s.settle()
}

func (s *fakeStream) SendData(p []byte, end bool) {
	s.usable("SendData")
	if s.sendEnded {
		s.r.Errorf("data behind the end")
	}
	if s.over {
		return
	}
	if len(s.heads) == 0 {
		s.r.Errorf("data before a head")
	}
	s.body = append(s.body, p...)
	if s.full {
		s.waiting += len(p)
	}
	s.sendEnded = end
	s.settle()
}

func (s *fakeStream) Unsent() int {
	if s.over {
		return 0
	}
	return s.waiting
}

func (s *fakeStream) Credit(n int) {
	if s.gone {
		s.r.Errorf("Credit after OnReset")
	}
	if s.credited += n; s.credited > s.given || n < 0 {
		s.r.Errorf("%d credited at once, %d in all, of %d", n, s.credited, s.given)
	}
}

func (s *fakeStream) Reset(c message.Code) {
	s.usable("Reset")
	if !s.over {
		s.reset = &c
		s.waiting = 0
		s.end()
	}
}

func opensTunnel(h *message.Head) bool { return h.Status == 101 || h.Status/100 == 2 }

// What a peer does.

func (s *fakeStream) onHead(h *message.Head, end bool) {
	if s.over {
		return
	}
	s.recvEnded = end
	s.answered = s.answered || h.Kind == message.Response && !h.Informational()
	if h.Status == 101 {
		s.sendEnded = false
	}
	s.h.OnHead(h, end)
	s.settle()
}

func (s *fakeStream) onData(p string, end bool) {
	if s.over {
		return
	}
	s.given += len(p)
	s.recvEnded = end
	b := []byte(p)
	s.h.OnData(b, end)
	clear(b) // the core's again
	s.settle()
}

func (s *fakeStream) onReset(reset message.Reset) {
	if s.over {
		return
	}
	s.gone, s.waiting = true, 0
	s.end()
	s.h.OnReset(reset)
}

// drain takes what waits, and has room from then on.
func (s *fakeStream) drain() {
	s.full = false
	if s.waiting == 0 || s.over {
		return
	}
	s.waiting = 0
	s.h.OnDrained()
	s.settle()
}

// head is the last one that was sent, or nil.
func (s *fakeStream) head() *message.Head {
	if len(s.heads) == 0 {
		return nil
	}
	return s.heads[len(s.heads)-1]
}

func (s *fakeStream) status() int {
	for _, h := range s.heads {
		if h.Kind == message.Response && !h.Informational() {
			return h.Status
		}
	}
	return 0
}

// get returns a field of the last head.
func (s *fakeStream) get(name string) string {
	if h := s.head(); h != nil {
		v, _ := h.Get(name)
		return v
	}
	return ""
}

// request has the client begin a request.
func (r *rig) request(h *message.Head, end bool) *fakeStream {
	s := &fakeStream{r: r, server: true, tunnel: h.Method == "CONNECT" || h.Protocol != ""}
	r.do(func() { s.h = r.client.accept(s); s.onHead(h, end) })
	return s
}

// fakeServer is the core of a connection to an endpoint.
type fakeServer struct {
	loop.Core
	r       *rig
	room    int
	full    bool // new streams have no room for data
	streams []*fakeStream
	conn    *serverConn
	changed func()
	closed  bool
}

// newServer puts a connection without a socket into the pool.
func (r *rig) newServer(i int, k kind) *fakeServer {
	f := &fakeServer{r: r, room: 1 << 20}
	r.do(func() {
		g := r.shard.pool.group(groupKey{r.endpoints[i].Addr(), k})
		f.conn = &serverConn{group: g, core: f}
		f.changed = f.conn.changed
		f.conn.join()
	})
	return f
}

func (f *fakeServer) Open(h message.Handler) message.Stream {
	if f.Room() == 0 {
		f.r.Errorf("a stream is opened with no room")
	}
	s := &fakeStream{r: f.r, h: h, full: f.full}
	s.ended = func() {
		if f.Room() == 1 {
			f.changed()
		}
	}
	f.streams = append(f.streams, s)
	return s
}

func (f *fakeServer) Room() int {
	if f.closed {
		return 0
	}
	return max(0, f.room-f.Streams())
}

func (f *fakeServer) Streams() (n int) {
	for _, s := range f.streams {
		if !s.over {
			n++
		}
	}
	return n
}

// Receive takes anything, and End the end.
func (f *fakeServer) Receive([]byte) error { return nil }
func (f *fakeServer) End() error           { return io.EOF }

// Closed ends the streams, as the cores do.
func (f *fakeServer) Closed(error) {
	f.closed = true
	for _, s := range f.streams {
		s.onReset(message.Reset{Code: message.ConnectError})
	}
	f.changed()
}

func kb(n int) string { return strings.Repeat("x", n<<10) }
