// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// policy decides what enters an encoder's table. A table that stays as it is is
// worth more than one that is up to date: blocks may be sent again, see
// [Encoder.Version]. So the first to come may stay, and others have to wait.
type policy struct {
	blocks  uint32 // begun
	turned  uint32 // what blocks was when something was last evicted
	missing [8]uint32
	next    uint32
}

const (
	// turnover is how many blocks there are at least between two evictions.
	turnover = 32
	// largestShare of a table is what one field may have: the rest of them are
	// many, and used more often.
	largestShare = 4
)

// field tells whether f, which came more than once, enters t.
func (p *policy) field(t *table, f *message.Field) bool {
	return p.admit(t, fieldSize(f.Name, f.Value))
}

// pseudo tells the same of a field of the pseudo-header, of which nobody knows
// whether it came before. It may be a path that never comes again: half of the
// table is for anyone, after that it must have been missing a short while ago.
func (p *policy) pseudo(t *table, name, value string) bool {
	size := fieldSize(name, value)
	if int(t.size)+size > int(t.max)/2 && !p.missed(value) {
		return false
	}
	return p.admit(t, size)
}

// admit makes sure that there is room for a field, or that it is time.
func (p *policy) admit(t *table, size int) bool {
	if size > int(t.max)/largestShare {
		return false
	}
	if int(t.size)+size <= int(t.max) {
		return true
	}
	if p.blocks-p.turned < turnover {
		return false
	}
	p.turned = p.blocks
	return true
}

// missed remembers a value by its hash, and tells whether it was among the last
// few already. To be wrong once in a while does no harm.
func (p *policy) missed(value string) bool {
	hash := uint32(2166136261) // FNV-1a
	for i := range len(value) {
		hash = (hash ^ uint32(value[i])) * 16777619
	}
	for _, h := range p.missing {
		if h == hash {
			return true
		}
	}
	p.missing[p.next%uint32(len(p.missing))] = hash
	p.next++
	return false
}
