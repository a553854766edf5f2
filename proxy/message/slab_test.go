// SPDX-License-Identifier: Apache-2.0

package message

import (
	"strconv"
	"testing"
)

func (s *Slab) add(name, value string) *Field {
	b := s.Room(len(value))
	start := b.Len()
	b.WriteString(value)
	return s.Field(name, s.Since(start))
}

// TestSlab: what was made stays as it is, whatever is made after it.
func TestSlab(t *testing.T) {
	var s Slab
	var all []*Field
	for i := range 1000 {
		all = append(all, s.add("n", strconv.Itoa(i*i)))
	}
	for i, f := range all {
		if f.Name != "n" || f.Value != strconv.Itoa(i*i) || f.Again || f.Sensitive || f.Line != "" {
			t.Fatalf("field %d is %+v", i, f)
		}
	}
}

// TestSlabGrows: who makes one field pays for one.
func TestSlabGrows(t *testing.T) {
	var s Slab
	for made, want := range map[int]int{1: 0, 2: 1, 3: 0, 63: 0, 64: 31} {
		for s = (Slab{}); made > 0; made-- {
			s.add("n", "v")
		}
		if len(s.fields) != want {
			t.Errorf("%d fields are left, want %d", len(s.fields), want)
		}
	}
}

// TestSlabAllocs: two allocations for 32 fields.
func TestSlabAllocs(t *testing.T) {
	var s Slab
	if n := testing.AllocsPerRun(1000, func() {
		for range slabFields {
			s.add("grpc-timeout", "999921u")
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
