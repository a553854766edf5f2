// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// table is a dynamic table (section 2.3.2): a ring that grows with its use.
type table struct {
	ring    []*message.Field // nil, or a power of two long
	next    uint32           // where the next field goes, modulo len(ring)
	entries uint32
	size    uint32 // sum of fieldSize, in bytes
	max     uint32
}

// leastRing is the length of the first ring: a gRPC client has about so many
// fields that stay the same.
const leastRing = 8

// at returns a field, of which the youngest is number 0, or nil.
func (t *table) at(i uint32) *message.Field {
	if i >= t.entries {
		return nil
	}
	return t.ring[(t.next-1-i)&uint32(len(t.ring)-1)]
}

// add puts f in front and evicts from the end until everything fits. What fits
// never leaves the table empty, which is no error (section 4.4).
func (t *table) add(f *message.Field) {
	size := fieldSize(f.Name, f.Value)
	if size > int(t.max) {
		t.evict(0)
		return
	}
	t.evict(t.max - uint32(size))
	if t.entries == uint32(len(t.ring)) {
		t.grow()
	}
	t.ring[t.next&uint32(len(t.ring)-1)] = f
	t.next++
	t.entries++
	t.size += uint32(size)
}

// grow doubles the ring.
func (t *table) grow() {
	ring := make([]*message.Field, max(leastRing, 2*len(t.ring)))
	for i := range t.entries {
		ring[t.entries-1-i] = t.at(i)
	}
	t.ring, t.next = ring, t.entries
}

// evict takes the oldest fields away until the table has at most size bytes.
func (t *table) evict(size uint32) {
	for t.size > size {
		f := t.at(t.entries - 1)
		t.ring[(t.next-t.entries)&uint32(len(t.ring)-1)] = nil
		t.entries--
		t.size -= uint32(fieldSize(f.Name, f.Value))
	}
}

// resize changes the maximum (section 4.3).
func (t *table) resize(size uint32) {
	t.max = size
	t.evict(size)
	if t.entries == 0 {
		t.ring, t.next = nil, 0
	}
}

// find returns the number of this very field. It begins with the oldest, which
// are the ones that every block has: they came first.
func (t *table) find(f *message.Field) (i uint32, ok bool) {
	mask := uint32(len(t.ring) - 1)
	for k := t.next - t.entries; k != t.next; k++ {
		if t.ring[k&mask] == f {
			return t.next - 1 - k, true
		}
	}
	return 0, false
}

// search returns the number of an equal field. Failing that, byName tells that
// i is the number of one that has the same name at least.
func (t *table) search(name, value string) (i uint32, equal, byName bool) {
	mask := uint32(len(t.ring) - 1)
	for k := t.next - t.entries; k != t.next; k++ {
		f := t.ring[k&mask]
		if f.Name != name {
			continue
		}
		i, byName = t.next-1-k, true
		if f.Value == value {
			return i, true, true
		}
	}
	return i, false, byName
}
