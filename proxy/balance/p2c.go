// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// p2c takes the less loaded of two candidates. The first comes by rotation and
// the second at random, and the second must be less loaded by more than one to
// win. So an idle set is served in turn, within one request of exactly even,
// where two random candidates would be uneven by the square root of the count.
// A difference of one is how requests happen to lie, not load: counting it gives
// a replica that answers in two thirds of the time, because it is on the same
// node, 9 % more than its share at 8 requests in flight on 6 replicas; with this
// margin it gets 4 % more (closed_loop_test.go), and one that stalls is avoided
// all the same.
type p2c struct {
	endpoints []*Endpoint
	random    func(n int) int
	turn      atomic.Uint32
}

// NewP2C returns a picker by power of two choices over the active requests,
// streams and connections. random returns a number in [0, n) and must be safe
// for concurrent use; nil means math/rand/v2. The slice is copied.
func NewP2C(endpoints []*Endpoint, random func(n int) int) Picker {
	if random == nil {
		random = rand.IntN
	}
	p := &p2c{endpoints: slices.Clone(endpoints), random: random}
	if n := len(endpoints); n > 0 {
		// Proxies that learn of a set at the same moment must not begin
		// with the same endpoint.
		p.turn.Store(uint32(random(n)))
	}
	return p
}

// Pick never returns an endpoint in r.Tried. It returns a shunned one only
// when no other is left.
func (p *p2c) Pick(r Request) (*Endpoint, bool) {
	eligible := func(e *Endpoint) bool { return !slices.Contains(r.Tried, e) && !e.Shunned(r.Now) }
	if e, ok := p.pick(eligible); ok {
		return e, true
	}
	return p.pick(func(e *Endpoint) bool { return !slices.Contains(r.Tried, e) })
}

func (p *p2c) pick(eligible func(*Endpoint) bool) (*Endpoint, bool) {
	first := p.next(eligible)
	if first == nil {
		return nil, false
	}
	if second := p.sample(eligible); second != nil && second.Active()+1 < first.Active() {
		return second, true
	}
	return first, true
}

// next takes turns. A turn that falls on an endpoint that may not be used is
// spent, or else the one after it would be served twice a round.
func (p *p2c) next(eligible func(*Endpoint) bool) *Endpoint {
	n := uint32(len(p.endpoints))
	for range n {
		if e := p.endpoints[(p.turn.Add(1)-1)%n]; eligible(e) {
			return e
		}
	}
	// Concurrent picks may have taken the turns of all that are eligible.
	if i := slices.IndexFunc(p.endpoints, eligible); i >= 0 {
		return p.endpoints[i]
	}
	return nil
}

// sample draws a few times. Most sets have few endpoints that may not be used;
// where most may not, the rotation alone decides often enough.
func (p *p2c) sample(eligible func(*Endpoint) bool) *Endpoint {
	const draws = 3
	for range draws {
		if e := p.endpoints[p.random(len(p.endpoints))]; eligible(e) {
			return e
		}
	}
	return nil
}
