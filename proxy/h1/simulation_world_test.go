// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// world is a client, a proxy and an upstream, with one request at a time.
type world struct {
	t       *testing.T
	random  *rand.Rand
	sockets []*socket
	later   []func()

	user   *h1.Client
	pool   *h1.Client // of the proxy
	wanted *script    // the answer to the request in turn

	senders []*sender
	takers  []*taker
	origins []*taker // what upstreams heard
}

func (w *world) options() h1.Options {
	o := h1.Options{}
	if w.random.IntN(2) == 0 {
		o.Later = func(f func()) { w.later = append(w.later, f) }
	}
	return o
}

// link makes a connection, one end of which is the proxy's.
func (w *world) link(dials bool, client, server func(*socket) core) {
	a, b := &socket{proxy: dials}, &socket{proxy: !dials}
	connected(a, b)
	a.core, b.core = client(a), server(b)
	w.sockets = append(w.sockets, a, b)
}

// dialUpstream connects the proxy to a new upstream.
func (w *world) dialUpstream() {
	var origin *h1.Server
	w.link(true, func(s *socket) core {
		w.pool = h1.NewClient(s, w.options(), nil)
		return w.pool
	}, func(s *socket) core {
		origin = h1.NewServer(s, w.options(), func(st message.Stream) message.Handler {
			k := &taker{stream: st}
			w.takers, w.origins = append(w.takers, k), append(w.origins, k)
			w.senders = append(w.senders, &sender{stream: st, script: w.wanted, at: -1, behind: k, early: w.random.IntN(3) == 0})
			if w.random.IntN(8) == 0 {
				origin.GoAway()
			}
			return k
		})
		return origin
	})
}

// dialProxy connects the client to the proxy, anew.
func (w *world) dialProxy() {
	w.link(false, func(s *socket) core {
		w.user = h1.NewClient(s, w.options(), nil)
		return w.user
	}, func(s *socket) core {
		return h1.NewServer(s, w.options(), func(st message.Stream) message.Handler {
			if w.pool == nil || w.pool.Room() == 0 {
				w.dialUpstream()
			}
			return &proxied{w: w, down: st}
		})
	})
}

// proxied is an exchange that keeps to the rules of flow control.
type proxied struct {
	w              *world
	down, up       message.Stream
	owed, owedBack int
}

func (x *proxied) OnHead(h *message.Head, end bool) {
	if h.Kind == message.Request {
		x.up = x.w.pool.Open((*proxiedBack)(x))
	}
	x.up.SendHead(h, end)
}

func (x *proxied) OnData(p []byte, end bool) {
	x.up.SendData(p, end)
	x.owed += len(p)
	(*proxiedBack)(x).OnDrained()
}
func (x *proxied) OnReset(r message.Reset) { x.w.t.Errorf("client has gone: %+v", r) }
func (x *proxied) OnDrained() {
	if x.down.Unsent() == 0 {
		x.up.Credit(x.owedBack)
		x.owedBack = 0
	}
}

type proxiedBack proxied

func (x *proxiedBack) OnHead(h *message.Head, end bool) { x.down.SendHead(h, end) }
func (x *proxiedBack) OnData(p []byte, end bool) {
	x.owedBack += len(p)
	x.down.SendData(p, end)
	(*proxied)(x).OnDrained()
}
func (x *proxiedBack) OnReset(r message.Reset) { x.w.t.Errorf("upstream has gone: %+v", r) }
func (x *proxiedBack) OnDrained() {
	if x.up.Unsent() == 0 {
		x.down.Credit(x.owed)
		x.owed = 0
	}
}

// step does one thing that can be done, chosen at random.
func (w *world) step() bool {
	var can []func() bool
	for _, s := range w.sockets {
		can = append(can, func() bool { return s.move(w.random) })
	}
	for _, s := range w.senders {
		can = append(can, s.step)
	}
	for _, k := range w.takers {
		can = append(can, k.step)
	}
	can = append(can, func() bool {
		if len(w.later) == 0 {
			return false
		}
		f := w.later[0]
		w.later = w.later[1:]
		f()
		return true
	})
	w.random.Shuffle(len(can), func(i, j int) { can[i], can[j] = can[j], can[i] })
	for _, f := range can {
		if f() {
			return true
		}
	}
	return false
}

// exchange sends one request, and goes on until nothing moves.
func (w *world) exchange(number int) {
	method := []string{"GET", "POST", "PUT", "DELETE"}[w.random.IntN(4)]
	h := &message.Head{Kind: message.Request, Method: method, Scheme: "http", Authority: "a", Path: fmt.Sprintf("/%d", number%3), ContentLength: -1}
	request := makeScript(w.random, h)
	w.wanted = makeScript(w.random, status(200, -1))
	if w.user == nil || w.user.Room() == 0 {
		w.dialProxy()
	}
	heard := &taker{}
	heard.stream = w.user.Open(heard)
	w.senders = []*sender{{stream: heard.stream, script: request, at: -1}}
	w.takers = []*taker{heard}
	w.senders[0].step()
	w.origins = nil
	for i := 0; ; i++ {
		if i > 1<<20 {
			w.t.Fatal("does not come to an end")
		}
		if !w.step() {
			break
		}
	}
	if len(w.origins) != 1 {
		w.t.Fatalf("request %d: upstreams heard %d", number, len(w.origins))
	}
	if got := w.origins[0].text(); !sameMessage(got, request.told) {
		w.t.Fatalf("request %d: the upstream heard %s, not %s", number, brief(got), brief(request.told))
	}
	if !sameMessage(heard.text(), w.wanted.told) {
		w.t.Fatalf("answer %d: heard %s, not %s", number, brief(heard.text()), brief(w.wanted.told))
	}
}

// brief leaves out the middle.
func brief(s string) string {
	if len(s) > 400 {
		s = fmt.Sprintf("%s ... (%d octets) ... %s", s[:200], len(s), s[len(s)-200:])
	}
	return fmt.Sprintf("%q", s)
}

// sameMessage compares but for the length of a message that has no content: the
// cores may have to say it.
func sameMessage(got, want string) bool {
	clean := func(s string) string {
		return strings.NewReplacer(" length=0", "", " content-length=\"0\"", "").Replace(s)
	}
	return clean(got) == clean(want)
}

// TestSimulation sends messages of all kinds through two connections and three
// cores, with pieces, pauses and callbacks in random order.
func TestSimulation(t *testing.T) {
	const seeds = 20
	drained, connections := 0, 0
	for seed := range uint64(seeds) {
		w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0))}
		for i := range 8 {
			w.exchange(i)
		}
		connections += len(w.sockets) / 2
		for i, s := range w.sockets {
			drained += s.drained
			// The mark, one read above it, and what is read without credit
			// until reading is paused: the window, and one read above it.
			if most := highWater + 128<<10 + 64<<10 + 128<<10; s.proxy && s.most > most {
				t.Errorf("seed %d: socket %d held %d octets", seed, i, s.most)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if drained < seeds || connections < 2*seeds+seeds/2 || connections > 8*seeds {
		t.Errorf("%d seeds had %d peers without room and %d connections: this tests too little", seeds, drained, connections)
	}
}
