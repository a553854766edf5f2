// SPDX-License-Identifier: Apache-2.0

// Package hpack turns header blocks into fields and back (RFC 7541). It is
// strict about what it reads, and keeps no more per connection than the two
// dynamic tables, which cost nothing until they are used. Of x/net it takes the
// Huffman code alone. It does no I/O; whether the fields make a message is h2's
// to judge.
package hpack

import "errors"

// ErrTooLarge means that a field list is above the limit. The block was read to
// its end, so the table is in step and the other streams go on.
var ErrTooLarge = errors.New("field list too large")

// What is wrong with a block. There is no reading on after any of these: the
// table would be out of step (RFC 9113, section 4.3).
var (
	errTruncated   = errors.New("header block ends within a field")
	errInteger     = errors.New("integer above 32 bits")
	errIndex       = errors.New("index outside of the tables")
	errUpdatePlace = errors.New("table size update after a field")
	errUpdateSize  = errors.New("table size update above the limit")
)

// tableSize is the size of a dynamic table, in bytes, as long as nobody says
// anything else (RFC 9113, section 6.5.2).
const tableSize = 4096

// fieldSize is what a field counts for, in bytes, in a table (section 4.1) and
// in a list (RFC 9113, section 6.5.2).
func fieldSize(name, value string) int { return len(name) + len(value) + 32 }
