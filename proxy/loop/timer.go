// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"math/bits"
	"time"
)

const (
	// tick is how exact timers are.
	tick = 10 * time.Millisecond
	// levels of slots; a slot of the first is one tick, one of each further
	// level as much as all slots of the level below: 64^5 ticks are 124 days.
	levels    = 5
	levelBits = 6
	slots     = 1 << levelBits
	// longest is the longest time that a timer waits.
	longest = 100 * 24 * time.Hour
)

// Timer calls F on the worker, once. It may be used again, from within F too.
type Timer struct {
	F func()

	wheel      *wheel // while it waits
	next, prev *Timer // in its list, a ring
	when       uint64 // in ticks
	list       uint16 // in wheel.lists
}

// Stop keeps a Timer from firing. One that does not wait is left alone.
func (t *Timer) Stop() {
	if t.wheel != nil {
		t.wheel.remove(t)
	}
}

// wheel holds timers by when they are due, so that adding and removing one takes
// constant time: the level is given by the highest digit, of base 64, in which
// now and the time differ, and the slot by that digit. A timer of a higher level
// moves down when its slot comes.
type wheel struct {
	now      uint64 // in ticks
	count    int
	occupied [levels]uint64 // a bit for each slot
	lists    [levels*slots + 1]*Timer
}

// due is the list of timers whose F is called next.
const due = levels * slots

func (w *wheel) add(t *Timer, when uint64) {
	t.wheel, t.when = w, max(when, w.now+1)
	w.count++
	w.put(t)
}

func (w *wheel) put(t *Timer) {
	level := 0
	if differ := t.when ^ w.now; differ >= slots {
		level = min((bits.Len64(differ)-1)/levelBits, levels-1)
	}
	slot := t.when >> (level * levelBits) % slots
	w.occupied[level] |= 1 << slot
	w.push(t, level*slots+int(slot))
}

// push makes t the last of a list.
func (w *wheel) push(t *Timer, list int) {
	t.list = uint16(list)
	first := w.lists[list]
	if first == nil {
		t.next, t.prev = t, t
		w.lists[list] = t
		return
	}
	t.next, t.prev = first, first.prev
	t.prev.next, t.next.prev = t, t
}

func (w *wheel) remove(t *Timer) {
	w.unlink(t)
	t.wheel = nil
	w.count--
}

func (w *wheel) unlink(t *Timer) {
	list := int(t.list)
	if t.next == t {
		w.lists[list] = nil
		if list != due {
			w.occupied[list/slots] &^= 1 << (list % slots)
		}
	} else {
		t.prev.next, t.next.prev = t.next, t.prev
		if w.lists[list] == t {
			w.lists[list] = t.next
		}
	}
	t.next, t.prev = nil, nil
}

// next is the tick at which there is something to do: a timer is due, or moves
// to a lower level. The first level that has any comes first.
func (w *wheel) next() (when uint64, level int, ok bool) {
	for level, occupied := range w.occupied {
		if occupied == 0 {
			continue
		}
		shift := level * levelBits
		now := w.now >> shift
		ahead := bits.TrailingZeros64(bits.RotateLeft64(occupied, -int(now%slots)))
		return (now + uint64(ahead)) << shift, level, true
	}
	return 0, 0, false
}

// advance moves the timers that are due at now into their list, in order.
func (w *wheel) advance(now uint64) {
	for {
		when, level, ok := w.next()
		if !ok || when > now {
			break
		}
		w.now = max(w.now, when)
		list := level*slots + int(when>>(level*levelBits)%slots)
		for t := w.lists[list]; t != nil; t = w.lists[list] {
			w.unlink(t)
			if t.when <= w.now {
				w.push(t, due)
			} else {
				w.put(t)
			}
		}
	}
	w.now = max(w.now, now)
}

// pop takes the first timer that is due, or returns nil.
func (w *wheel) pop() *Timer {
	t := w.lists[due]
	if t != nil {
		w.remove(t)
	}
	return t
}
