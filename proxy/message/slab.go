// SPDX-License-Identifier: Apache-2.0

package message

import "strings"

const (
	// slabFields is how many fields are made at once by a Slab in full use.
	slabFields = 32
	// slabText is how many bytes of text each of them is expected to have.
	slabText = 24
)

// Slab makes fields that are not expected to come again, such as grpc-timeout,
// and strings for them. One by one they would cost two allocations each; a Slab
// makes 1 at first, then 2, 4, and so on up to 32 at a time. Those that were made
// together also stay together, as long as anyone of them is in use: so a Slab is
// for one connection. The zero Slab is ready to use.
type Slab struct {
	fields []Field // not used yet
	text   strings.Builder
	last   int // how many there were
}

// Field returns a new field.
func (s *Slab) Field(name, value string) *Field {
	if len(s.fields) == 0 {
		s.last = min(max(2*s.last, 1), slabFields)
		s.fields = make([]Field, s.last)
	}
	f := &s.fields[0]
	s.fields = s.fields[1:]
	f.Name, f.Value = name, value
	return f
}

// Room returns where a string of at most n bytes is to be written. Since takes
// it, from the Len that the Builder had before.
func (s *Slab) Room(n int) *strings.Builder {
	if s.text.Cap()-s.text.Len() < n {
		s.text.Reset() // what was written is its strings' from now on
		s.text.Grow(max(n, slabText*s.last))
	}
	return &s.text
}

// Since returns what was written behind the first n bytes of Room.
func (s *Slab) Since(n int) string { return s.text.String()[n:] }
