// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"sync/atomic"
	"time"
)

const (
	// Load looks back over that many periods.
	periods = 8
	period  = 128 * time.Millisecond
)

// gauge measures turns. The worker writes it, anybody may read it.
type gauge struct {
	longest atomic.Int64
	// busy is a ring: the number of a period in the upper half, the nanoseconds
	// that turns took in it in the lower.
	busy [periods + 1]atomic.Uint64
}

// turn counts one that ended at the time since base.
func (g *gauge) turn(end, took time.Duration) {
	if int64(took) > g.longest.Load() {
		g.longest.Store(int64(took))
	}
	number := uint64(end/period) & 0xffffffff
	slot := &g.busy[number%uint64(len(g.busy))]
	sum := slot.Load()
	if sum>>32 != number {
		sum = number << 32
	}
	slot.Store(sum + uint64(min(took, period))) // a period has no more, and so no carry
}

// load is the fraction of the last second, up to now since base, in turns.
func (g *gauge) load(now time.Duration) float64 {
	current := uint64(now/period) & 0xffffffff
	var sum time.Duration
	for i := range g.busy {
		if v := g.busy[i].Load(); current-v>>32 <= periods {
			sum += time.Duration(v & 0xffffffff)
		}
	}
	return min(float64(sum)/float64(max(min(now, periods*period+now%period), 1)), 1)
}

// Load is the fraction of about the last second that the worker was busy.
func (w *Worker) Load() float64 { return w.gauge.load(time.Since(w.base)) }

// MaxStall is how long the longest turn took, since MaxStall was called before:
// as long, everything else on the worker waited.
func (w *Worker) MaxStall() time.Duration { return time.Duration(w.gauge.longest.Swap(0)) }

// Conns is how many connections are open.
func (w *Worker) Conns() int { return int(w.open.Load()) }

// Turns is how often the worker has looked at its connections so far.
func (w *Worker) Turns() uint64 { return w.turns.Load() }
