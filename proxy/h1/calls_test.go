// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"math/rand/v2"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// chaos is everything that can be done to a core, in an order that makes no
// sense: from outside, and from within its callbacks.
type chaos struct {
	random  *rand.Rand
	core    core
	wire    *wire
	streams []message.Stream
	extra   func() // what only this role has
	input   []string
	depth   int
	later   []func()
	closed  bool
}

// use calls some stream, most likely the last one.
func (x *chaos) use() {
	if len(x.streams) == 0 {
		return
	}
	s := x.streams[len(x.streams)-1]
	if x.random.IntN(8) == 0 {
		s = x.streams[x.random.IntN(len(x.streams))]
	}
	end := x.random.IntN(3) == 0
	switch x.random.IntN(12) {
	case 0:
		s.SendHead(trailers(), true)
	case 1:
		s.Reset(message.Cancel)
	case 2:
		s.Credit(x.random.IntN(100 << 10))
	case 3:
		s.Unsent()
	case 4, 5, 6:
		s.SendData(make([]byte, x.random.IntN(1<<x.random.IntN(19))), end)
	default:
		s.SendHead(x.head(), end)
	}
}

func (x *chaos) head() *message.Head {
	length := int64(x.random.IntN(4) - 1)
	if _, ok := x.core.(*h1.Client); ok {
		h := get("/")
		h.Method, h.ContentLength = []string{"GET", "HEAD", "POST", "CONNECT"}[x.random.IntN(4)], length
		if x.random.IntN(3) == 0 {
			h.Protocol = "websocket"
		}
		return h
	}
	return status([]int{100, 101, 200, 204, 304, 500}[x.random.IntN(6)], length)
}

// within is what a handler does when it is called.
func (x *chaos) within() {
	if x.closed {
		return
	}
	x.depth++
	if x.depth < 4 && x.random.IntN(2) == 0 {
		x.use()
	}
	x.depth--
}

func (x *chaos) handler() *recorder {
	return &recorder{
		onHead: func(*message.Head, bool) { x.within() },
		onData: func([]byte, bool) { x.within() },
	}
}

// step is what a loop does, or an exchange that was called by another core.
func (x *chaos) step() {
	gone := x.wire.closed || x.wire.reset
	switch x.random.IntN(10) {
	case 0:
		if x.random.IntN(4) == 0 {
			_ = x.core.End()
		}
	case 1:
		x.wire.take()
		x.core.Drained()
	case 2:
		x.extra()
	case 3:
		if len(x.later) > 0 {
			x.later[0]()
			x.later = x.later[1:]
		}
	case 4, 5:
		x.use()
	default:
		if !gone {
			p := []byte(x.input[x.random.IntN(len(x.input))])
			for _, piece := range cut(p, x.random.Uint64()) {
				if x.wire.closed || x.wire.reset {
					return
				}
				if x.core.Receive(piece) != nil {
					x.wire.closed = true
				}
			}
		}
	}
}

// TestChaos: nothing of it makes a core panic, or call a handler that has heard
// the end. When the connection is gone nothing happens at all.
func TestChaos(t *testing.T) {
	for seed := range uint64(4000) {
		x := &chaos{random: rand.New(rand.NewPCG(seed, 7)), wire: &wire{}}
		o := h1.Options{}
		if seed%4 < 2 {
			o.Later = func(f func()) { x.later = append(x.later, f) }
		}
		if seed%2 == 0 {
			s := h1.NewServer(x.wire, o, func(st message.Stream) message.Handler {
				x.streams = append(x.streams, st)
				return x.handler()
			})
			x.core = s
			x.extra = func() {
				if x.random.IntN(8) == 0 {
					s.GoAway()
				}
			}
			x.input = []string{getA, getA, getB + getA, upgrade, connect, chunked("3\r\nabc\r\n0\r\n\r\n"), chunked("5\r\nab"), "GET / HT", "PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "raw"}
		} else {
			c := h1.NewClient(x.wire, o, func() { x.within() })
			x.core = c
			x.extra = func() {
				if c.Room() > 0 {
					st := c.Open(x.handler())
					x.streams = append(x.streams, st)
					st.SendHead(x.head(), x.random.IntN(2) == 0)
				}
			}
			x.input = []string{none, none, switched, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nto the end", hundred, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 20"}
			x.extra()
		}
		for range 40 {
			x.step()
		}
		x.closed = true
		x.core.Closed(nil)
		x.wire.take()
		for _, f := range x.later {
			f()
		}
		for range 20 {
			x.use()
		}
		if len(x.wire.out) > 0 {
			t.Fatalf("seed %d: sent %q afterwards", seed, x.wire.out)
		}
	}
}
