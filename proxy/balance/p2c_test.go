// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
)

func newSet(n int) []*balance.Endpoint {
	set := make([]*balance.Endpoint, n)
	for i := range set {
		set[i] = balance.NewEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80))
	}
	return set
}

func TestIdleSetIsServedInTurn(t *testing.T) {
	for n := 1; n <= 7; n++ {
		picker := balance.NewP2C(newSet(n), nil)
		counts := map[*balance.Endpoint]int{}
		for range 100 * n {
			e, ok := picker.Pick(balance.Request{})
			if !ok {
				t.Fatal("no endpoint")
			}
			counts[e]++
		}
		for e, got := range counts {
			if got != 100 {
				t.Errorf("%d endpoints: %v got %d of 100", n, e.Addr(), got)
			}
		}
	}
}

// TestWindowIsEven holds the goal of the demo: with calls that overlap, the
// busiest endpoint gets at most 5 % above its share of 5,000.
func TestWindowIsEven(t *testing.T) {
	const n, calls, inFlight = 6, 5000, 20
	r := rand.New(rand.NewPCG(1, 2))
	picker := balance.NewP2C(newSet(n), r.IntN)
	var open []*balance.Endpoint
	counts := map[*balance.Endpoint]int{}
	for range calls * n {
		e, _ := picker.Pick(balance.Request{})
		counts[e]++
		e.Acquire()
		if open = append(open, e); len(open) == inFlight {
			i := r.IntN(inFlight)
			open[i].Release()
			open[i] = open[inFlight-1]
			open = open[:inFlight-1]
		}
	}
	for e, got := range counts {
		if share := float64(got) / calls; share > 1.05 {
			t.Errorf("%v got %.3f of its fair share", e.Addr(), share)
		}
	}
}

func TestLongStreamsAreLoad(t *testing.T) {
	set := newSet(2)
	for range 50 {
		set[0].Acquire()
	}
	picker := balance.NewP2C(set, nil)
	counts := map[*balance.Endpoint]int{}
	for range 40 {
		e, _ := picker.Pick(balance.Request{})
		e.Acquire()
		counts[e]++
	}
	// The loaded one is taken only when both candidates are it: 1/2 of its
	// turns (a draw that is not eligible is not the case here).
	if counts[set[0]] > 20 {
		t.Errorf("the endpoint with 50 open streams got %d of 40", counts[set[0]])
	}
}

func TestTriedAndShunned(t *testing.T) {
	set := newSet(3)
	picker := balance.NewP2C(set, nil)
	now := time.Unix(1000, 0)
	set[0].Shun(now.Add(time.Second))
	for range 30 {
		e, ok := picker.Pick(balance.Request{Now: now, Tried: set[1:2]})
		if !ok || e != set[2] {
			t.Fatalf("got %v, %t; want the only one neither tried nor shunned", e.Addr(), ok)
		}
	}
	if e, ok := picker.Pick(balance.Request{Now: now, Tried: set[1:]}); !ok || e != set[0] {
		t.Errorf("got %v, %t; want the shunned one, since no other is left", e, ok)
	}
	if e, ok := picker.Pick(balance.Request{Now: now, Tried: set}); ok {
		t.Errorf("got %v with all tried", e.Addr())
	}
	seen := false
	for range 10 {
		e, _ := picker.Pick(balance.Request{Now: now.Add(time.Second)})
		seen = seen || e == set[0]
	}
	if !seen {
		t.Error("an endpoint is not used again after its time")
	}
	if _, ok := balance.NewP2C(nil, nil).Pick(balance.Request{}); ok {
		t.Error("an empty set has an endpoint")
	}
}

func TestFailedLonger(t *testing.T) {
	e := newSet(1)[0]
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 32} {
		e.Failed(now)
		e.Failed(now.Add(time.Millisecond)) // of the same moment
		now = now.Add(want * time.Second)
		if !e.Shunned(now.Add(-1)) || e.Shunned(now) {
			t.Errorf("failure %d: not shunned for %d s", i+1, want)
		}
	}
	e.Failed(now)
	e.Reached()
	if e.Shunned(now) {
		t.Error("shunned though it was reached")
	}
}

// TestShunnedTurnsAreSpread: the one after a shunned endpoint must not be
// served twice a round.
func TestShunnedTurnsAreSpread(t *testing.T) {
	set := newSet(4)
	now := time.Unix(1000, 0)
	set[1].Shun(now.Add(time.Second))
	picker := balance.NewP2C(set, nil)
	counts := map[*balance.Endpoint]int{}
	for range 300 {
		e, _ := picker.Pick(balance.Request{Now: now})
		counts[e]++
	}
	for e, got := range counts {
		if got < 99 || got > 101 {
			t.Errorf("%v got %d of 100", e.Addr(), got)
		}
	}
}

func TestPickIsSafeForConcurrentUse(t *testing.T) {
	set := newSet(3)
	picker := balance.NewP2C(set, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				e, ok := picker.Pick(balance.Request{Tried: set[:2]})
				if !ok || e != set[2] {
					t.Error("no endpoint though one is eligible")
					return
				}
			}
		})
	}
	wg.Wait()
}

func ExampleNewP2C() {
	busy := balance.NewEndpoint(netip.MustParseAddrPort("10.0.0.1:80"))
	idle := balance.NewEndpoint(netip.MustParseAddrPort("10.0.0.2:80"))
	busy.Acquire()
	second := func(int) int { return 1 }
	picker := balance.NewP2C([]*balance.Endpoint{busy, idle}, second)
	e, _ := picker.Pick(balance.Request{})
	fmt.Println(e.Addr())
	// Output: 10.0.0.2:80
}

func BenchmarkPick(b *testing.B) {
	picker := balance.NewP2C(newSet(8), nil)
	b.ReportAllocs()
	for b.Loop() {
		picker.Pick(balance.Request{})
	}
}
