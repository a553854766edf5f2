// SPDX-License-Identifier: Apache-2.0

package events

import "time"

const (
	// maxEntries bounds the memory of a book: 1,000 owners that get pods within
	// quietLife. Beyond it each happening is written by itself.
	maxEntries = 1024

	// quietLife is how long an entry is kept without a new happening; one that
	// comes later is news, and gets an Event of its own.
	quietLife = 10 * time.Minute
)

// book counts happenings that are alike, so that they are told once. It decides
// and writes nothing.
type book struct {
	entries map[Happening]*entry
}

// entry is one Event in the making.
type entry struct {
	happening   Happening
	name        string // of the Event, "" when there is none
	first, last time.Time
	count       int32
	written     int32 // of count, how much was told or given up
}

func newBook() *book { return &book{entries: map[Happening]*entry{}} }

// note counts h, and says whether it is the first of its kind.
func (b *book) note(h Happening, now time.Time) (e *entry, first bool) {
	if e, known := b.entries[h]; known {
		e.count++
		e.last = now
		return e, false
	}
	e = &entry{happening: h, first: now, last: now, count: 1}
	if len(b.entries) < maxEntries {
		b.entries[h] = e
	}
	return e, true
}

// unwritten returns the entries whose count is not told yet.
func (b *book) unwritten() []*entry {
	var list []*entry
	for _, e := range b.entries {
		if e.written < e.count {
			list = append(list, e)
		}
	}
	return list
}

// forget drops what has been quiet.
func (b *book) forget(now time.Time) {
	for h, e := range b.entries {
		if now.Sub(e.last) > quietLife {
			delete(b.entries, h)
		}
	}
}
