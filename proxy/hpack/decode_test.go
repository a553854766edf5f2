// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	xhpack "golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestErrors: every way of breaking the rules ends the connection.
func TestErrors(t *testing.T) {
	huffman := xhpack.ErrInvalidHuffman
	for _, tc := range []struct {
		name  string
		block string
		err   error
	}{
		{"index 0", "80", errIndex},
		{"index behind the static table", "be", errIndex},
		{"index far behind", "ff ff ff ff ff 07", errIndex},
		{"none", "40 01 61 01 62", nil},
		{"index integer too long", "ff 80 80 80 80 80 00", errInteger},
		{"index cut off", "ff", errTruncated},
		{"index cut off after a field", "82 ff 80", errTruncated},
		{"name behind the tables, incremental", "7e 01 61", errIndex},
		{"name behind the tables, without indexing", "0f 2f 01 61", errIndex},
		{"name behind the tables, never indexed", "1f 2f 01 61", errIndex},
		{"name index integer above 32 bits", "0f ff ff ff ff ff 7f 01 61", errInteger},
		{"no name", "40", errTruncated},
		{"name cut off", "40 05 61 62", errTruncated},
		{"name length cut off", "40 7f", errTruncated},
		{"name length above 32 bits", "40 7f ff ff ff ff 7f", errInteger},
		{"name of 4 GiB", "40 7f 80 ff ff ff 0f", errTruncated},
		{"no value", "40 01 61", errTruncated},
		{"value cut off", "40 01 61 02 62", errTruncated},
		{"value cut off, static name", "04 02 2f", errTruncated},
		{"value cut off, never indexed", "14 02 2f", errTruncated},
		{"padding of a whole octet", "04 81 ff", huffman},
		{"padding of more", "04 82 1f ff", huffman},
		{"padding of zeros", "04 81 00", huffman},
		{"EOS", "04 84 ff ff ff fc", huffman},
		{"symbol cut off", "04 81 fe", huffman},
		{"bad padding in a name", "40 81 ff 01 61", huffman},
		{"bad padding in a name, without indexing", "00 81 ff 01 61", huffman},
		{"bad padding in a never indexed value", "14 81 00", huffman},
		{"size update above the limit", "3f e2 1f", errUpdateSize},
		{"size update above the limit after another", "20 3f e2 1f", errUpdateSize},
		{"size update integer above 32 bits", "3f ff ff ff ff 7f", errInteger},
		{"size update cut off", "3f", errTruncated},
		{"size update after a field", "82 20", errUpdatePlace},
		{"size update after a literal", "40 01 61 01 62 3f e1 1f", errUpdatePlace},
		{"size update between fields", "20 82 20 82", errUpdatePlace},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDecoder()
			if _, err := d.Decode(nil, unhex(t, tc.block)); !errors.Is(err, tc.err) {
				t.Errorf("Decode(%s) = %v, want %v", tc.block, err, tc.err)
			}
			// What is not wanted any more is not let off either.
			d = NewDecoder(new(message.Interner), 4096, 33)
			want := tc.err
			switch {
			case want == nil:
				want = ErrTooLarge
			case strings.HasPrefix(tc.name, "size update"):
				want = errUpdatePlace
			}
			_, err := d.Decode(nil, append(unhex(t, "00 01 61 01 62"), unhex(t, tc.block)...))
			if !errors.Is(err, want) {
				t.Errorf("behind a list too large: %v, want %v", err, want)
			}
		})
	}
}

// TestEveryPrefix: a block cut off anywhere is an error, or the fields up to
// there.
func TestEveryPrefix(t *testing.T) {
	block := unhex(t, "3fe11f 82 86 84 41 8cf1e3c2e5f23a6ba0ab90f4ff 10 0870617373776f7264 06736563726574 be")
	ends := map[int]bool{0: true, 3: true, 4: true, 5: true, 6: true, 20: true, 37: true, 38: true}
	for n := range len(block) + 1 {
		_, err := newDecoder().Decode(nil, block[:n])
		if ends[n] != (err == nil) {
			t.Errorf("%d bytes of %d: %v", n, len(block), err)
		}
	}
}

// TestTooLarge: the stream alone is lost, for the table learns the rest.
func TestTooLarge(t *testing.T) {
	const two = 2 * (1 + 1 + 32)
	d := NewDecoder(new(message.Interner), 4096, two)
	ab := &message.Field{Name: "a", Value: "b"}
	list, err := d.Decode([]*message.Field{ab}, unhex(t, "40 01 61 01 62  40 01 63 01 64"))
	if diff := cmp.Diff([]string{"a: b", "a: b", "c: d"}, lines(list)); diff != "" || err != nil {
		t.Errorf("a list of the limit (-want +got), %v:\n%s", err, diff)
	}
	version := d.Version()
	// A long field that is not wanted, then a short one, which would be short
	// enough but comes too late, then one for the table.
	list, err = d.Decode(nil, unhex(t, "be 00 01 61 0a 62626262626262626262 00 00 00 40 01 65 01 66"))
	if diff := cmp.Diff([]string{"c: d"}, lines(list)); diff != "" || !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list above the limit (-want +got), %v:\n%s", err, diff)
	}
	if d.Version() == version {
		t.Error("the version is still the same")
	}
	list, err = d.Decode(nil, unhex(t, "be c0"))
	if diff := cmp.Diff([]string{"e: f", "a: b"}, lines(list)); diff != "" || err != nil {
		t.Errorf("the table is out of step (-want +got), %v:\n%s", err, diff)
	}
	if _, err := d.Decode(nil, unhex(t, "be be be")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("three indexed fields: %v", err)
	}
}

// TestTableStart: the peer may use 4096 bytes until it knows better, and no more
// until it says so.
func TestTableStart(t *testing.T) {
	for _, maxTable := range []int{0, 100, 4096, 65536} {
		d := NewDecoder(new(message.Interner), maxTable, 1<<20)
		if _, err := d.Decode(nil, unhex(t, "40 01 61 01 62 be")); err != nil {
			t.Errorf("announced %d, insert before the peer knows: %v", maxTable, err)
		}
		if d.table.max != tableSize {
			t.Errorf("announced %d, the table begins with %d", maxTable, d.table.max)
		}
		if _, err := d.Decode(nil, appendInteger(nil, sizeUpdate, sizeUpdateBits, uint32(maxTable))); err != nil {
			t.Errorf("announced %d, update to it: %v", maxTable, err)
		}
		if d.table.max != uint32(maxTable) {
			t.Errorf("the table has %d bytes after an update to %d", d.table.max, maxTable)
		}
		if _, err := d.Decode(nil, appendInteger(nil, sizeUpdate, sizeUpdateBits, uint32(maxTable+1))); !errors.Is(err, errUpdateSize) {
			t.Errorf("announced %d, update above it: %v", maxTable, err)
		}
	}
}

// TestDecoderVersion: at the same version the same block is the same fields,
// whatever happens to the table.
func TestDecoderVersion(t *testing.T) {
	d := newDecoder()
	for _, tc := range []struct {
		name    string
		block   string
		changes bool
	}{
		{"static", "82", false},
		{"empty", "", false},
		{"insert", "40 01 61 01 62", true},
		{"the same again", "40 01 61 01 62", true},
		{"dynamic", "be", false},
		{"without indexing", "00 01 61 01 62", false},
		{"never indexed", "10 01 61 01 62", false},
		{"update", "3f 09", true},
		{"update to the same", "3f 09", true},
		{"insert what does not fit", "40 01 61 0a 62626262626262626262", true},
	} {
		before := d.Version()
		if _, err := d.Decode(nil, unhex(t, tc.block)); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if changed := d.Version() != before; changed != tc.changes {
			t.Errorf("%s: version changed is %v", tc.name, changed)
		}
	}
	if d.table.entries != 0 || d.table.size != 0 {
		t.Errorf("what does not fit leaves %d entries of %d bytes (RFC 7541, 4.4)", d.table.entries, d.table.size)
	}
}

// TestEvictedName: a field may have the name of one that it evicts (section
// 4.4).
func TestEvictedName(t *testing.T) {
	d := newDecoder()
	list, err := d.Decode(nil, unhex(t, "3f 09  40 04 6e616d65 01 61  7e 01 62"))
	if diff := cmp.Diff([]string{"name: a", "name: b"}, lines(list)); diff != "" || err != nil {
		t.Errorf("(-want +got), %v:\n%s", err, diff)
	}
	if d.table.entries != 1 || d.table.at(0).Value != "b" {
		t.Errorf("the table is %q", lines(contents(&d.table)))
	}
}

// TestIdle: what every idle HTTP/2 connection costs.
func TestIdle(t *testing.T) {
	if n := unsafe.Sizeof(Decoder{}) + unsafe.Sizeof(Encoder{}); n >= 300 {
		t.Errorf("Decoder and Encoder have %d bytes", n)
	}
	in := new(message.Interner)
	var d *Decoder
	var e *Encoder
	if n := testing.AllocsPerRun(100, func() { d, e = NewDecoder(in, 4096, 1<<20), NewEncoder() }); n != 2 {
		t.Errorf("%v allocations for %p and %p", n, d, e)
	}
}
