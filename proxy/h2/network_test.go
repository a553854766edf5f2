// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// network joins a client and a server of ours by wires that deliver in pieces
// and late, after the will of rnd.
type network struct {
	t       *testing.T
	rnd     *rand.Rand
	wires   [2]wire
	conns   [2]*Conn
	line    [2][]byte // on its way from wires[i]
	wasHigh [2]bool
	started int
	reset   int
	live    []*talker
}

// talker is one end of a stream that says something long and listens. Both
// ends know from the identifier what the other says.
type talker struct {
	n         *network
	s         message.Stream
	name      uint64 // what it hears begins with
	say, hear []byte // still
	owed      int    // not yet credited
	headDue   *message.Head
	endBy     *message.Head // trailers, or none
	heardHead bool
	heardEnd  bool
	saidEnd   bool
	dead      bool
	server    bool
	quit      bool // a server that ended before the client: its stream is over when all is sent
}

func body(rnd *rand.Rand) []byte {
	b := make([]byte, rnd.IntN(1+rnd.IntN(1+rnd.IntN(300000))))
	x := rnd.Uint32()
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func (k *talker) OnHead(h *message.Head, end bool) {
	if v, _ := h.Get("volatile"); h.Kind != message.Trailers && len(v) > 0 && v != fmt.Sprint(k.name) {
		k.n.t.Errorf("head has %q, want %d", v, k.name)
	}
	k.heardHead = true
	k.end(end)
}

func (k *talker) OnData(p []byte, end bool) {
	if k.dead || !bytes.HasPrefix(k.hear, p) {
		k.n.t.Fatalf("stream %d: wrong bytes (dead %t)", k.name, k.dead)
	}
	k.hear = k.hear[len(p):]
	if k.quit {
		k.s.Credit(len(p))
	} else {
		k.owed += len(p)
	}
	k.end(end)
}

func (k *talker) end(end bool) {
	if !end {
		return
	}
	if len(k.hear) != 0 || k.heardEnd {
		k.n.t.Fatalf("stream %d: ended with %d bytes to come", k.name, len(k.hear))
	}
	k.heardEnd = true
}

func (k *talker) OnReset(message.Reset) {
	k.dead = true
	k.n.reset++
}
func (k *talker) OnDrained() {}

// act does the next thing that this end has to do.
func (k *talker) act() {
	rnd := k.n.rnd
	switch {
	case k.dead:
		return
	case rnd.IntN(800) == 0:
		k.s.Reset(message.Cancel)
		k.dead = true
	case k.owed > 0 && rnd.IntN(3) == 0:
		n := 1 + rnd.IntN(k.owed)
		k.owed -= n
		k.s.Credit(n)
	case k.saidEnd, k.server && !k.heardEnd && k.n.rnd.IntN(20) > 0:
	case k.headDue != nil:
		end := len(k.say) == 0 && k.endBy == nil
		k.s.SendHead(k.headDue, end)
		k.headDue, k.saidEnd = nil, end
	case len(k.say) > 0:
		if k.s.Unsent() > 100000 && rnd.IntN(10) > 0 {
			return
		}
		n := 1 + rnd.IntN(len(k.say))
		end := n == len(k.say) && k.endBy == nil
		k.s.SendData(k.say[:n], end)
		k.say, k.saidEnd = k.say[n:], end
	case k.endBy != nil:
		k.s.SendHead(k.endBy, true)
		k.saidEnd = true
	default:
		k.s.SendData(nil, true)
		k.saidEnd = true
	}
	if k.server && k.saidEnd && !k.heardEnd && !k.quit {
		k.quit = true
		k.s.Credit(k.owed)
	}
}

func (k *talker) done() bool {
	return k.dead || k.quit || k.saidEnd && k.heardEnd && k.owed == 0
}

// open starts a stream: both ends are known at once, the far one being given
// its stream when the request gets there, by the name in its path.
func (n *network) open(arriving map[string]*talker) {
	n.started++
	name := uint64(n.started)
	up, down := body(n.rnd), body(n.rnd)
	head := func(h *message.Head) *message.Head {
		h.Fields = append(h.Fields, &message.Field{Name: "volatile", Value: fmt.Sprint(name)})
		h.Stable = n.rnd.IntN(2) == 0
		return h
	}
	near := &talker{n: n, name: name, say: up, hear: down}
	far := &talker{n: n, name: name, say: down, hear: up, headDue: head(responseHead(200, "a", "b")), server: true}
	for _, k := range []*talker{near, far} {
		if n.rnd.IntN(2) == 0 {
			k.endBy = trailersHead("t", "u")
		}
	}
	request := head(requestHead("a", "b"))
	request.Path = fmt.Sprint("/", name)
	arriving[request.Path] = far
	near.s = n.conns[0].Open(near)
	end := len(near.say) == 0 && near.endBy == nil
	near.s.SendHead(request, end)
	near.saidEnd = end
	n.live = append(n.live, near)
}

func (n *network) step(i int) {
	w := &n.wires[i]
	switch n.rnd.IntN(4) {
	case 0: // the socket takes some
		took := n.rnd.IntN(len(w.out) + 1)
		n.wasHigh[i] = n.wasHigh[i] || len(w.out) > w.HighWater()
		n.line[i] = append(n.line[i], w.out[:took]...)
		w.out = append(w.out[:0], w.out[took:]...)
		if len(w.out) == 0 && n.wasHigh[i] {
			n.wasHigh[i] = false
			n.conns[i].Drained()
		}
	default: // the peer reads some
		most := min(len(n.line[i]), 1+n.rnd.IntN(1+n.rnd.IntN(100000)))
		if err := n.conns[i^1].Receive(bytes.Clone(n.line[i][:most])); err != nil {
			n.t.Fatalf("conn %d: %v", i^1, err)
		}
		n.line[i] = n.line[i][most:]
	}
}

func (n *network) run(streams int) {
	arriving := map[string]*talker{}
	pool := &Pool{}
	o := Options{Interner: &message.Interner{}, Pool: pool, ConnWindow: 65535 + n.rnd.IntN(1000000), Limits: Limits{MaxControl: 1 << 30, MaxResets: 1 << 30, StreamWindow: 65535 + n.rnd.IntN(300000), MaxStreams: 1 + n.rnd.IntN(50)}}
	n.conns[0] = NewClient(&n.wires[0], o, nil)
	n.conns[1] = NewServer(&n.wires[1], o, func(s message.Stream) message.Handler {
		return &arrival{n: n, s: s, arriving: arriving}
	})
	for steps := 0; n.started < streams || len(n.live) > 0; steps++ {
		if steps > 3000000 {
			n.t.Fatalf("stalled with %d streams: client %d, server %d open", len(n.live), n.conns[0].open, n.conns[1].open)
		}
		if n.started < streams && n.conns[0].Room() > 0 && len(n.live) < 60 {
			n.open(arriving)
		}
		n.step(n.rnd.IntN(2))
		if len(n.live) > 0 {
			i := n.rnd.IntN(len(n.live))
			n.live[i].act()
			if n.live[i].done() {
				n.live[i] = n.live[len(n.live)-1]
				n.live = n.live[:len(n.live)-1]
			}
		}
		if n.rnd.IntN(500) == 0 {
			n.changeWindow(n.rnd.IntN(2))
		}
	}
}

// changeWindow has conn i announce another initial window for its peer to mind.
// It goes on taking as much as it ever allowed.
func (n *network) changeWindow(i int) {
	c := n.conns[i]
	window := 65535 + n.rnd.IntN(400000)
	out := c.w.Output()
	*out = append(*out, settings(settingWindow, uint32(window))...)
	more := max(window-c.o.StreamWindow, 0)
	c.o.StreamWindow += more
	for _, s := range c.streams.list() {
		s.recvWin += int64(more)
	}
}

type arrival struct {
	n        *network
	s        message.Stream
	arriving map[string]*talker
	k        *talker
}

func (a *arrival) OnHead(h *message.Head, end bool) {
	if h.Kind == message.Request {
		a.k = a.arriving[h.Path]
		delete(a.arriving, h.Path)
		a.k.s = a.s
		a.n.live = append(a.n.live, a.k)
	}
	a.k.OnHead(h, end)
}
func (a *arrival) OnData(p []byte, end bool) { a.k.OnData(p, end) }
func (a *arrival) OnReset(r message.Reset)   { a.k.OnReset(r) }
func (a *arrival) OnDrained()                { a.k.OnDrained() }

// TestNetwork sends random messages, resets some, and sees that every byte
// arrives once and in order, and that nothing is left behind.
func TestNetwork(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := &network{t: t, rnd: rand.New(rand.NewPCG(seed, 99))}
			n.run(100)
			for range 2 { // what is on its way
				for i := range n.conns {
					n.line[i] = append(n.line[i], n.wires[i].out...)
					n.wires[i].out = nil
					if err := n.conns[i^1].Receive(n.line[i]); err != nil {
						t.Fatal(err)
					}
					n.line[i] = nil
				}
			}
			for i, c := range n.conns {
				peer := n.conns[i^1]
				if c.open != 0 || c.streams.n != 0 || c.queue.head != nil || n.wires[i].lent != 0 {
					t.Errorf("conn %d: %d streams open, %d in the table, %d buffers lent", i, c.open, c.streams.n, n.wires[i].lent)
				}
				if c.sendWin+peer.owed != int64(peer.o.ConnWindow) || c.sendWin != peer.recvWin {
					t.Errorf("conn %d may send %d, its peer may receive %d and owes %d of %d", i, c.sendWin, peer.recvWin, peer.owed, peer.o.ConnWindow)
				}
			}
			if n.reset == 0 || n.reset > 100 {
				t.Errorf("%d resets", n.reset)
			}
		})
	}
}
