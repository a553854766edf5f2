// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"maps"
	"slices"
)

// pinned is what is there, as far as it means anything.
type pinned struct {
	words    map[place]slotKey  // of services; the slot is how many there are
	tables   map[uint64][]place // by their numbers, each without a gap
	stray    []slotKey          // slots of no service's table, which nobody can find
	removals []removal
}

// table returns a service's; false where it has none.
func (h pinned) table(service place) (table, bool) {
	word, ok := h.words[service]
	return table{word.slot(), h.tables[word.table()]}, ok
}

// lastTable is the highest number that is taken.
func (h pinned) lastTable() (last uint64) {
	for number := range h.tables {
		last = max(last, number)
	}
	for _, word := range h.words {
		last = max(last, word.table())
	}
	for _, key := range h.stray {
		last = max(last, key.table())
	}
	return last
}

// unfinished returns what a killed Balance has noted: endpoints whose connections
// are still to be ended, and those that are there all the same, or wanted again.
func (h pinned) unfinished(want map[place]table) (gone, again []removal) {
	for _, r := range h.removals {
		if t, _ := h.table(r.Service); t.has(r.Endpoint) || want[r.Service].has(r.Endpoint) {
			again = append(again, r)
		} else {
			gone = append(gone, r)
		}
	}
	return gone, again
}

// change is from what is held to what is wanted, in the order of its members.
type change struct {
	removals []removal // written down first, so that a killed change is finished by the next
	keys     []slotKey // slots of the next tables...
	places   []place   // ...and what is in them
	services []place   // then what they belong to...
	words    []slotKey // ...gets their numbers: the moment from which they hold
	dropped  []place   // services that are balanced no more
	erased   []slotKey // slots that nobody reads any more
}

func (c change) count() int { return len(c.services) + len(c.dropped) }

// changeTo returns what makes want hold.
func (h pinned) changeTo(want map[place]table) change {
	var c change
	next := h.lastTable()
	for _, service := range slices.SortedFunc(maps.Keys(want), place.compare) {
		old, is := h.table(service)
		if is && old.equal(want[service]) {
			continue
		}
		next++
		c.write(service, next, want[service])
		for _, p := range slices.CompactFunc(slices.Clone(old.places), func(a, b place) bool { return a == b }) {
			if !want[service].has(p) {
				c.removals = append(c.removals, removal{service, p})
			}
		}
		c.erase(h.words[service], len(old.places))
	}
	for service, word := range h.words {
		if _, is := want[service]; !is {
			c.dropped = append(c.dropped, service)
			c.erase(word, len(h.tables[word.table()]))
		}
	}
	return c
}

func (c *change) write(service place, number uint64, t table) {
	for i, p := range t.places {
		c.keys = append(c.keys, slotKeyOf(number, i))
		c.places = append(c.places, p)
	}
	c.services = append(c.services, service)
	c.words = append(c.words, slotKeyOf(number, t.slots))
}

func (c *change) erase(word slotKey, places int) {
	for i := range places {
		c.erased = append(c.erased, slotKeyOf(word.table(), i))
	}
}
