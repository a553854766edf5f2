// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestInterned: what is shared between connections, and what is not.
func TestInterned(t *testing.T) {
	for _, tc := range []struct {
		name   string
		block  string
		shared bool
	}{
		{"literal name, incremental", "40 01 61 01 62", true},
		{"literal name, without indexing", "00 01 61 01 62", true},
		{"Huffman", "40 88 25a849e95ba97d7f 89 25a849e95bb8e8b4bf", true},
		{"static name", "5f 01 62", true},
		{"static name, long index", "0f 10 01 62", true},
		{"never indexed", "10 01 61 01 62", false},
		{"cookie", "60 01 62", false},
		{"content-length", "5c 01 31", true},
		{"grpc-timeout", "40 0c 677270632d74696d656f7574 02 3153", true},
		{"long grpc-timeout", "40 0c 677270632d74696d656f7574 1b" + strings.Repeat("31", 27), false},
		{"empty grpc-message", "40 0c 677270632d6d657373616765 00", true},
		{"empty content-length", "5c 80", true},
		{"1 KiB of name and value", "40 01 61 7f fb 06" + strings.Repeat("62", 1018), true},
		{"more", "40 01 61 7f fc 06" + strings.Repeat("62", 1019), false},
		{"1 KiB of static name and value", "5f 7f ef 06" + strings.Repeat("62", 1006), true},
		{"more of it", "5f 7f f0 06" + strings.Repeat("62", 1007), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := new(message.Interner)
			decode := func() *message.Field {
				list, err := NewDecoder(in, 4096, 1<<20).Decode(nil, unhex(t, tc.block))
				if err != nil || len(list) != 1 {
					t.Fatalf("Decode = %q, %v", lines(list), err)
				}
				return list[0]
			}
			first := decode()
			if message.Volatile(first.Name) && first.Value != "" {
				first = decode() // what came once is not worth keeping
			}
			if first.Again {
				t.Error("Again at first")
			}
			second := decode()
			if (first == second) != tc.shared {
				t.Errorf("shared is %v", first == second)
			}
			if second.Again != tc.shared {
				t.Errorf("Again is %v", second.Again)
			}
			if diff := cmp.Diff(lines([]*message.Field{first}), lines([]*message.Field{second})); diff != "" {
				t.Errorf("another field:\n%s", diff)
			}
		})
	}
}

// TestInternedApart: keys of different fields differ, even where their bytes run
// into each other.
func TestInternedApart(t *testing.T) {
	in := new(message.Interner)
	blocks := []struct{ block, want string }{
		{"40 01 61 01 62", "a: b"},
		{"40 02 6101 01 62", "a\x01: b"},
		{"40 01 61 02 0162", "a: \x01b"},
		{"40 00 01 62", ": b"},
		{"40 01 62 00", "b: "},
		{"40 81 1f 81 8f", "a: b"}, // the same in Huffman code
		{"40 01 1f 01 8f", "\x1f: \x8f"},
		{"0f 0e 01 62", "content-location: b"},
	}
	for range 2 {
		for _, tc := range blocks {
			list, err := NewDecoder(in, 4096, 1<<20).Decode(nil, unhex(t, tc.block))
			if err != nil || len(list) != 1 || list[0].Name+": "+list[0].Value != tc.want {
				t.Errorf("Decode(%s) = %q, %v, want %q", tc.block, lines(list), err, tc.want)
			}
		}
	}
	// The end of a name is not the length of a value.
	for block, want := range map[string]string{"40 01 61 00  7e 02 01 62": "a: \x01b", "40 02 61 02 00  7e 01 62": "a\x02: b"} {
		list, err := NewDecoder(in, 4096, 1<<20).Decode(nil, unhex(t, block))
		if err != nil || len(list) != 2 || list[1].Name+": "+list[1].Value != want {
			t.Errorf("Decode(%s) = %q, %v, want %q", block, lines(list), err, want)
		}
	}
	// One index, another name each time: the raw bytes are not enough.
	for _, name := range []string{"61", "63"} {
		list, err := NewDecoder(in, 4096, 1<<20).Decode(nil, unhex(t, "40 01 "+name+" 01 62  0f 2f 01 64"))
		if err != nil || len(list) != 2 || list[1].Name != list[0].Name || list[1].Value != "d" {
			t.Errorf("name %s: %q, %v", name, lines(list), err)
		}
	}
}

// TestAgain: an indexed field came before, though no interner sees it again.
func TestAgain(t *testing.T) {
	d := newDecoder()
	first, err := d.Decode(nil, unhex(t, "40 01 61 01 62"))
	if err != nil || first[0].Again {
		t.Fatalf("first: %+v, %v", first, err)
	}
	second, err := d.Decode(nil, unhex(t, "be"))
	if err != nil || second[0] != first[0] || !second[0].Again {
		t.Errorf("second: %+v, %v", second, err)
	}
}

func TestSensitive(t *testing.T) {
	for block, want := range map[string]bool{
		"10 01 61 01 62": true,  // says so
		"11 01 62":       true,  // says so of :authority
		"00 01 61 01 62": false, // does not
		"57 01 62":       true,  // authorization, though indexed
		"a0":             true,  // cookie of the static table
		"0f 22 01 62":    true,  // proxy-authorization
		"77 01 62":       true,  // set-cookie
	} {
		list, err := newDecoder().Decode(nil, unhex(t, block))
		if err != nil || list[0].Sensitive != want {
			t.Errorf("%s: %+v, %v", block, list, err)
		}
	}
}

// TestVolatileIsForgotten: values that change push out only one another.
func TestVolatileIsForgotten(t *testing.T) {
	in := new(message.Interner)
	decode := func(block []byte) *message.Field {
		list, err := NewDecoder(in, 4096, 1<<20).Decode(nil, block)
		if err != nil || len(list) != 1 {
			t.Fatalf("Decode = %q, %v", lines(list), err)
		}
		return list[0]
	}
	ordinary, lasting := unhex(t, "00 01 61 01 62"), unhex(t, "5c 01 31")
	a, length := decode(ordinary), decode(lasting)
	for i := range 100_000 {
		value := strconv.Itoa(1000 + i)
		decode(append([]byte{0x5c, byte(len(value))}, value...))
	}
	if decode(ordinary) != a {
		t.Error("a field that comes again was pushed out")
	}
	if decode(lasting) == length {
		t.Error("a content-length that did not come for long is kept")
	}
}
