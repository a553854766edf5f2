// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"math/rand/v2"
	"testing"
)

// TestWheelAgainstModel: timers fire at their tick, in order, unless stopped.
func TestWheelAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		var w wheel
		now := uint64(r.IntN(1 << 20))
		w.advance(now)
		waiting := map[*Timer]uint64{}
		for range 2000 {
			switch r.IntN(4) {
			case 0, 1:
				timer := &Timer{}
				waiting[timer] = now + 1 + uint64(r.IntN(1<<r.IntN(24)))
				w.add(timer, waiting[timer])
			case 2:
				for timer := range waiting {
					timer.Stop()
					timer.Stop()
					delete(waiting, timer)
					break
				}
			default:
				now = step(t, r, &w, now, waiting)
			}
			if w.count != len(waiting) {
				t.Fatalf("%d timers wait, want %d", w.count, len(waiting))
			}
		}
	}
}

// step goes to a later time, sometimes the one that the wheel asks for.
func step(t *testing.T, r *rand.Rand, w *wheel, now uint64, waiting map[*Timer]uint64) uint64 {
	next, _, ok := w.next()
	if ok != (len(waiting) > 0) {
		t.Fatalf("next: %t with %d timers", ok, len(waiting))
	}
	for _, when := range waiting {
		if next > when {
			t.Fatalf("it wants to sleep until %d, a timer is due at %d", next, when)
		}
	}
	now += uint64(r.IntN(1 << r.IntN(22)))
	if ok && r.IntN(2) == 0 {
		now = max(now, next)
	}
	w.advance(now)
	last := uint64(0)
	for timer := w.pop(); timer != nil; timer = w.pop() {
		when, ok := waiting[timer]
		if !ok || when > now || when < last {
			t.Fatalf("at %d: a timer of %d (known: %t) after one of %d", now, when, ok, last)
		}
		last = when
		delete(waiting, timer)
	}
	for _, when := range waiting {
		if when <= now {
			t.Fatalf("at %d a timer of %d waits", now, when)
		}
	}
	return now
}

func TestWheelLongest(t *testing.T) {
	for _, now := range []uint64{0, 1<<30 - 5, 3 << 28} {
		var w wheel
		w.advance(now)
		timer := &Timer{}
		when := now + uint64(longest/tick)
		w.add(timer, when)
		steps := 0
		for w.pop() == nil {
			next, _, _ := w.next()
			if steps++; next > when || steps > 10 {
				t.Fatalf("from %d: step %d to %d, want %d", now, steps, next, when)
			}
			w.advance(next)
		}
		if w.now != when {
			t.Errorf("from %d: at %d, want %d", now, w.now, when)
		}
	}
}

func TestPoolKeepsWhatIsNeeded(t *testing.T) {
	w := &Worker{}
	w.pool.worker = w
	w.pool.timer.F = w.pool.trim
	var held [][]byte
	for range 200 {
		held = append(held, w.pool.get(1))
	}
	for _, b := range held {
		w.pool.put(b[:10])
	}
	if n := len(w.pool.small.buffers); n != maxSmall {
		t.Errorf("%d buffers kept", n)
	}
	w.pool.put(make([]byte, 0, 100))
	w.pool.put(make([]byte, 0, largeSize+1))
	w.pool.put(make([]byte, 0, 300<<10))
	if b := w.pool.output(true); cap(b) != 300<<10 || len(b) != 0 {
		t.Errorf("a large one has %d", cap(b))
	}
	w.pool.trim() // 127 and more were needed in this period
	for range 3 {
		if b := w.pool.get(1); len(b) != 0 || cap(b) < BufferSize {
			t.Errorf("%d of %d bytes", len(b), cap(b))
		} else {
			w.pool.put(b)
		}
		w.pool.trim()
	}
	if n := len(w.pool.small.buffers); n != 1 {
		t.Errorf("%d buffers kept of which 1 is needed", n)
	}
	w.pool.trim()
	w.pool.trim()
	if w.pool.armed || len(w.pool.small.buffers) != 0 {
		t.Error("an idle pool keeps something")
	}
}
