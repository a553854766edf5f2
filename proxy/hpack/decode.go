// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// Decoder reads the header blocks of one direction of a connection.
type Decoder struct {
	interner *message.Interner
	slab     message.Slab
	table    table
	version  uint64
	limit    uint32 // of size updates
	maxList  int
}

// NewDecoder returns a Decoder of a connection on which we announce
// SETTINGS_HEADER_TABLE_SIZE maxTable, in bytes. The table begins with 4096
// bytes all the same: the peer goes by those until it has read our SETTINGS, and
// says so before it uses another size. maxList is the limit of a decoded list in
// the measure of SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2): bytes
// of names and values, and 32 per field.
func NewDecoder(in *message.Interner, maxTable, maxList int) *Decoder {
	return &Decoder{interner: in, table: table{max: tableSize}, limit: uint32(maxTable), maxList: maxList}
}

// Version changes whenever the table does. The same block at the same version
// is the same fields.
func (d *Decoder) Version() uint64 { return d.version }

// Decode appends the fields of a whole block to dst, those of the pseudo-header
// with their colon. With ErrTooLarge dst has the fields up to the limit. Any
// other error is a COMPRESSION_ERROR: the connection cannot go on.
func (d *Decoder) Decode(dst []*message.Field, block []byte) ([]*message.Field, error) {
	block, err := d.resize(block)
	if err != nil {
		return dst, err
	}
	var key [maxKey]byte
	room := d.maxList
	for len(block) > 0 {
		var f *message.Field
		f, block, err = d.field(block, key[:0], room >= 0)
		if err != nil {
			return dst, err
		}
		if room < 0 {
			continue
		}
		if room -= fieldSize(f.Name, f.Value); room >= 0 {
			dst = append(dst, f)
		}
	}
	if room < 0 {
		return dst, ErrTooLarge
	}
	return dst, nil
}

// resize reads the size updates that a block may begin with (section 6.3).
func (d *Decoder) resize(p []byte) ([]byte, error) {
	for len(p) > 0 && p[0]&0xe0 == sizeUpdate {
		size, rest, err := readInteger(p, sizeUpdateBits)
		if err != nil {
			return nil, err
		}
		if size > d.limit {
			return nil, errUpdateSize
		}
		d.table.resize(size)
		d.version++
		p = rest
	}
	return p, nil
}

// field reads one field. It may return nil for one that is not wanted.
func (d *Decoder) field(p, key []byte, wanted bool) (*message.Field, []byte, error) {
	var l literal
	switch {
	case p[0]&indexed != 0:
		return d.indexed(p)
	case p[0]&incremental != 0:
		rest, err := d.literal(&l, p, incrementalBits)
		if err != nil {
			return nil, nil, err
		}
		f, err := d.resolve(&l, key)
		if err != nil {
			return nil, nil, err
		}
		d.table.add(f)
		d.version++
		return f, rest, nil
	case p[0]&sizeUpdate != 0:
		return nil, nil, errUpdatePlace
	}
	rest, err := d.literal(&l, p, literalBits)
	if err != nil {
		return nil, nil, err
	}
	if !wanted {
		return nil, rest, l.check()
	}
	l.never = p[0]&neverIndexed != 0
	f, err := d.resolve(&l, key)
	return f, rest, err
}

// indexed reads an index that stands for a whole field (section 6.1).
func (d *Decoder) indexed(p []byte) (*message.Field, []byte, error) {
	i, rest, err := readInteger(p, indexedBits)
	if err != nil {
		return nil, nil, err
	}
	f := d.at(i)
	if f == nil {
		return nil, nil, errIndex
	}
	// An interner sees such a field only once, as the literal that it was.
	if !f.Again {
		f.Again = true
	}
	return f, rest, nil
}

// literal reads l, the index of whose name has so many bits (section 6.2).
func (d *Decoder) literal(l *literal, p []byte, bits uint) (rest []byte, err error) {
	i, rest, err := readInteger(p, bits)
	if err != nil {
		return nil, err
	}
	if i != 0 {
		if l.named = d.at(i); l.named == nil {
			return nil, errIndex
		}
	} else if l.name, rest, err = readText(rest); err != nil {
		return nil, err
	}
	l.value, rest, err = readText(rest)
	return rest, err
}

// at returns the field of an index (section 2.3.3), or nil.
func (d *Decoder) at(i uint32) *message.Field {
	switch {
	case i == 0:
		return nil
	case i < uint32(len(static)):
		return &static[i]
	}
	return d.table.at(i - uint32(len(static)))
}
