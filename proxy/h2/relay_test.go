// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// relay is the smallest of exchanges: what comes on one stream goes to the other.
type relay struct {
	client, server message.Stream
	toServer       relayHalf
	toClient       relayHalf
}

type relayHalf struct {
	r    *relay
	back bool
}

func (h *relayHalf) from() message.Stream {
	if h.back {
		return h.r.server
	}
	return h.r.client
}

func (h *relayHalf) to() message.Stream {
	if h.back {
		return h.r.client
	}
	return h.r.server
}

func (h *relayHalf) OnHead(head *message.Head, end bool) { h.to().SendHead(head, end) }
func (h *relayHalf) OnDrained()                          {}
func (h *relayHalf) OnReset(r message.Reset)             { h.to().Reset(r.Code) }
func (h *relayHalf) OnData(p []byte, end bool) {
	h.to().SendData(p, end)
	h.from().Credit(len(p))
}

// chain is client -> (ours: server, relay, client) -> server, where the ends
// are Conns as well, and their Handlers as simple as can be.
type chain struct {
	wires   [4]wire
	conns   [4]*Conn
	free    []*relay
	replies int
}

type echo struct {
	s        message.Stream
	response *message.Head
	trailers *message.Head
}

func (e *echo) OnHead(*message.Head, bool) { e.s.SendHead(e.response, false) }
func (e *echo) OnDrained()                 {}
func (e *echo) OnReset(message.Reset)      {}
func (e *echo) OnData(p []byte, end bool) {
	e.s.SendData(p, false)
	e.s.Credit(len(p))
	if end {
		e.s.SendHead(e.trailers, true)
	}
}

type caller struct {
	s       message.Stream
	replies *int
	got     int
}

func (c *caller) OnHead(_ *message.Head, end bool) {
	if end {
		*c.replies++
	}
}
func (c *caller) OnDrained()            {}
func (c *caller) OnReset(message.Reset) {}
func (c *caller) OnData(p []byte, _ bool) {
	c.got += len(p)
	c.s.Credit(len(p))
}

func newChain() *chain {
	c := &chain{}
	o := Options{Interner: &message.Interner{}, Pool: &Pool{}}
	c.conns[0] = NewClient(&c.wires[0], Options{}, nil)
	c.conns[2] = NewClient(&c.wires[2], o, nil)
	c.conns[1] = NewServer(&c.wires[1], o, func(s message.Stream) message.Handler {
		var r *relay
		if n := len(c.free); n > 0 {
			r, c.free = c.free[n-1], c.free[:n-1]
		} else {
			r = &relay{}
			r.toServer.r, r.toClient.r, r.toClient.back = r, r, true
		}
		r.client, r.server = s, c.conns[2].Open(&r.toClient)
		c.free = append(c.free, r) // in this benchmark one at a time
		return &r.toServer
	})
	e := &echo{
		response: responseHead(200, "content-type", "application/grpc"),
		trailers: trailersHead("grpc-status", "0", "grpc-message", ""),
	}
	c.conns[3] = NewServer(&c.wires[3], Options{}, func(s message.Stream) message.Handler {
		e.s = s
		return e
	})
	c.settle()
	return c
}

// settle carries bytes until there are none.
func (c *chain) settle() {
	for moved := true; moved; {
		moved = false
		for i := range c.wires {
			moved = c.carry(i) || moved
		}
	}
}

// carry takes what i has to say to its peer.
func (c *chain) carry(i int) bool {
	w := &c.wires[i]
	if len(w.out) == 0 {
		return false
	}
	p := w.take()
	if err := c.conns[i^1].Receive(p); err != nil {
		panic(fmt.Sprintf("conn %d: %v", i^1, err))
	}
	w.spare = p[:0]
	return true
}

func (c *chain) call(h *message.Head, body []byte, as *caller) {
	as.replies = &c.replies
	as.s = c.conns[0].Open(as)
	as.s.SendHead(h, false)
	as.s.SendData(body, true)
	c.settle()
}

func grpcRequest() *message.Head {
	h := requestHead("content-type", "application/grpc", "user-agent", "grpc-go/1.85.0", "te", "trailers", "x-request-source", "unit-test")
	h.Path, h.Authority = "/echo.Echo/Unary", "echo.default.svc.cluster.local:8080"
	return h
}

// TestUnaryAllocatesNothing holds the rule that a call like the last one costs
// no memory, in four connections at once.
func TestUnaryAllocatesNothing(t *testing.T) {
	c, h, body, as := newChain(), grpcRequest(), bytes.Repeat([]byte("x"), 100), &caller{}
	for range 100 {
		c.call(h, body, as)
	}
	if n := testing.AllocsPerRun(1000, func() { c.call(h, body, as) }); n != 0 {
		t.Errorf("%v allocations in a call", n)
	}
	if c.replies != 1101 || as.got != 110100 {
		t.Errorf("%d replies, %d bytes", c.replies, as.got)
	}
}

// TestBodyIsCopiedOnce: with room at the peer a body goes from the input of one
// connection to the output of another, and through no buffer in between.
func TestBodyIsCopiedOnce(t *testing.T) {
	c, h, as := newChain(), grpcRequest(), &caller{}
	for range 3 {
		c.call(h, make([]byte, 200000), as)
	}
	if as.got != 600000 || c.replies != 3 {
		t.Fatalf("%d bytes came in %d replies", as.got, c.replies)
	}
	for i := range c.wires {
		if n := c.wires[i].taken; n != 0 {
			t.Errorf("conn %d took %d buffers", i, n)
		}
	}
}

// BenchmarkUnary is a unary gRPC call through our server and client; the ends
// are replayed, so that they cost next to nothing.
func BenchmarkUnary(b *testing.B) {
	c, h, body, as := newChain(), grpcRequest(), bytes.Repeat([]byte("x"), 100), &caller{}
	for range 100 {
		c.call(h, body, as)
	}
	as.s = c.conns[0].Open(as)
	as.s.SendHead(h, false)
	as.s.SendData(body, true)
	first := c.conns[0].lastID
	request := bytes.Clone(c.wires[0].out)
	c.carry(0)
	c.carry(2)
	response := bytes.Clone(c.wires[3].out)
	c.carry(3)
	c.wires[1].out = c.wires[1].out[:0]
	down, up := c.conns[1], c.conns[2]
	id := first
	b.ReportAllocs()
	b.SetBytes(int64(len(request) + len(response)))
	b.ResetTimer()
	for b.Loop() {
		id += 2
		if id > maxStreamID-2 {
			b.Fatal("out of identifiers")
		}
		setIDs(request, id)
		setIDs(response, id)
		if err := down.Receive(request); err != nil {
			b.Fatal(err)
		}
		c.wires[2].out = c.wires[2].out[:0]
		if err := up.Receive(response); err != nil {
			b.Fatal(err)
		}
		c.wires[1].out = c.wires[1].out[:0]
		if down.open != 0 || up.open != 0 {
			b.Fatal("a stream did not end")
		}
		down.sendWin, up.sendWin = 1<<20, 1<<20 // as WINDOW_UPDATE would
	}
}

func setIDs(p []byte, id uint32) {
	for len(p) > 0 {
		f := parseFrameHeader(p)
		if f.id != 0 {
			p[5], p[6], p[7], p[8] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
		}
		p = p[frameHeaderLen+f.length:]
	}
}

// BenchmarkUnaryDeadline is the same with a deadline, which is never the same
// twice: heads are made and encoded anew.
func BenchmarkUnaryDeadline(b *testing.B) {
	c, body, as := newChain(), bytes.Repeat([]byte("x"), 100), &caller{}
	base := grpcRequest()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		h := *base
		h.Stable = false
		timeout := [8]byte{'1', '2', byte('0' + n/1000%10), byte('0' + n/100%10), byte('0' + n/10%10), byte('0' + n%10), 'u'}
		h.Fields = append(base.Fields[:len(base.Fields):len(base.Fields)], &message.Field{Name: "grpc-timeout", Value: string(timeout[:7])})
		c.call(&h, body, as)
	}
}

// BenchmarkUnaryChain is BenchmarkUnaryDeadline without, ends included.
func BenchmarkUnaryChain(b *testing.B) {
	c, h, body, as := newChain(), grpcRequest(), bytes.Repeat([]byte("x"), 100), &caller{}
	b.ReportAllocs()
	for b.Loop() {
		c.call(h, body, as)
	}
}

// BenchmarkBody is a body of 200 KB through both.
func BenchmarkBody(b *testing.B) {
	c, h, body, as := newChain(), grpcRequest(), make([]byte, 200000), &caller{}
	for range 10 {
		c.call(h, body, as)
	}
	b.SetBytes(int64(2 * len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c.call(h, body, as)
	}
}
