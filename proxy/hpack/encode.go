// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"strings"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Encoder writes the header blocks of one direction of a connection. The peer
// must get them in the order in which they were written.
type Encoder struct {
	table   table
	version uint64
	policy  policy

	resized  bool   // the peer is to be told table.max,
	smallest uint32 // and that it has been this in between
}

// NewEncoder returns an Encoder to a peer that has said nothing yet.
func NewEncoder() *Encoder { return &Encoder{table: table{max: tableSize}} }

// Version changes whenever the table does or is about to. A block during which
// it did not change may be sent again, for the same list, until it does. (A list
// may come out shorter once its fields are Again.)
func (e *Encoder) Version() uint64 { return e.version }

// SetMaxTable takes the peer's SETTINGS_HEADER_TABLE_SIZE, of which at most 4096
// bytes are used.
func (e *Encoder) SetMaxTable(n uint32) {
	n = min(n, tableSize)
	if n == e.table.max {
		return
	}
	if !e.resized {
		e.resized, e.smallest = true, n
	}
	e.smallest = min(e.smallest, n)
	e.table.resize(n)
	e.version++
}

// Begin starts a block, with what SetMaxTable has left to be said: the smallest
// size there was and the last (section 4.2).
func (e *Encoder) Begin(dst []byte) []byte {
	e.policy.blocks++
	if !e.resized {
		return dst
	}
	e.resized = false
	e.version++
	if e.smallest < e.table.max {
		dst = appendInteger(dst, sizeUpdate, sizeUpdateBits, e.smallest)
	}
	return appendInteger(dst, sizeUpdate, sizeUpdateBits, e.table.max)
}

// Field writes a field. The table gets those that came more than once, unless
// their name is volatile or sensitive.
func (e *Encoder) Field(dst []byte, f *message.Field) []byte {
	if f.Again {
		if i, ok := e.table.find(f); ok {
			return appendIndexed(dst, uint32(len(static))+i)
		}
	}
	nature := natureOf(f.Name, f.Value == "")
	if f.Sensitive || nature == sensitive {
		dst = appendName(dst, neverIndexed, literalBits, uint32(staticName(f.Name)), f.Name)
		return appendText(dst, f.Value)
	}
	i, equal := e.search(f.Name, f.Value, nature)
	if equal {
		return appendIndexed(dst, i)
	}
	if f.Again && nature == ordinary && e.policy.field(&e.table, f) {
		return e.insert(dst, i, f)
	}
	dst = appendName(dst, unindexed, literalBits, i, f.Name)
	return appendText(dst, f.Value)
}

// Pseudo writes a field of the pseudo-header, such as ":path". Its value may be
// kept in the table.
func (e *Encoder) Pseudo(dst []byte, name, value string) []byte {
	i, equal := e.search(name, value, ordinary)
	if equal {
		return appendIndexed(dst, i)
	}
	if e.policy.pseudo(&e.table, name, value) {
		// value may be a piece of something large.
		return e.insert(dst, i, &message.Field{Name: name, Value: strings.Clone(value), Again: true})
	}
	dst = appendName(dst, unindexed, literalBits, i, name)
	return appendText(dst, value)
}

// search returns the index of an equal field. Failing that, i is one of the same
// name, or 0.
func (e *Encoder) search(name, value string, n nature) (i uint32, equal bool) {
	i, equal = searchStatic(name, value)
	if equal || n != ordinary {
		return i, equal
	}
	k, equal, byName := e.table.search(name, value)
	if equal || (byName && i == 0) {
		i = uint32(len(static)) + k
	}
	return i, equal
}

// insert writes f, which the peer puts into its table as we do into ours. i is
// an index of its name as it was before, or 0.
func (e *Encoder) insert(dst []byte, i uint32, f *message.Field) []byte {
	e.table.add(f)
	e.version++
	dst = appendName(dst, incremental, incrementalBits, i, f.Name)
	return appendText(dst, f.Value)
}

// appendIndexed writes a whole field by its index (section 6.1).
func appendIndexed(dst []byte, i uint32) []byte {
	return appendInteger(dst, indexed, indexedBits, i)
}

// appendName begins a literal (section 6.2) whose name has index i, or 0.
func appendName(dst []byte, pattern byte, bits uint, i uint32, name string) []byte {
	dst = appendInteger(dst, pattern, bits, i)
	if i == 0 {
		dst = appendText(dst, name)
	}
	return dst
}
