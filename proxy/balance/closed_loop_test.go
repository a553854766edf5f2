// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/shuntmesh/shunt/proxy/balance"
)

// TestP2CInClosedLoop simulates callers that each send their next request when
// the last was answered, to six replicas of which every second answers slower.
// Answers take exponentially distributed times; the seed is fixed.
func TestP2CInClosedLoop(t *testing.T) {
	tests := []struct {
		name     string
		callers  int
		slowness float64 // mean time of the slow half, the fast half's being 1
		atMost   float64 // share of the busiest replica, 1 being the fair share
		atLeast  float64
	}{
		{"equal replicas share alike", 8, 1, 1.02, 1},
		{"a farther node is no reason", 4, 1.5, 1.02, 1},
		{"nor with more in flight", 8, 1.5, 1.05, 1},
		{"a stalled half is avoided", 32, 20, 2, 1.4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := busiestShare(tt.callers, tt.slowness); got > tt.atMost || got < tt.atLeast {
				t.Errorf("the busiest replica got %.3f of its fair share, want %.2f to %.2f", got, tt.atLeast, tt.atMost)
			}
		})
	}
}

const (
	replicas = 6
	requests = 60_000
)

func busiestShare(callers int, slowness float64) float64 {
	random := rand.New(rand.NewPCG(1, 2))
	var endpoints []*balance.Endpoint
	mean := map[*balance.Endpoint]float64{}
	for i := range replicas {
		e := balance.NewEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))
		endpoints = append(endpoints, e)
		mean[e] = 1
		if i%2 == 1 {
			mean[e] = slowness
		}
	}
	picker := balance.NewP2C(endpoints, random.IntN)
	served := map[*balance.Endpoint]int{}
	pending := &answers{}
	send := func(now float64) {
		e, _ := picker.Pick(balance.Request{})
		e.Acquire()
		served[e]++
		heap.Push(pending, answer{at: now + mean[e]*random.ExpFloat64(), from: e})
	}
	for range callers {
		send(0)
	}
	for range requests {
		next := heap.Pop(pending).(answer)
		next.from.Release()
		send(next.at)
	}
	busiest := 0
	for _, n := range served {
		busiest = max(busiest, n)
	}
	return float64(busiest) * replicas / requests
}

type answer struct {
	at   float64
	from *balance.Endpoint
}

// answers is a heap of pending answers, the next one first.
type answers []answer

func (a answers) Len() int           { return len(a) }
func (a answers) Less(i, j int) bool { return a[i].at < a[j].at }
func (a answers) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *answers) Push(x any)        { *a = append(*a, x.(answer)) }
func (a *answers) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
