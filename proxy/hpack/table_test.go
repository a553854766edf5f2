// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestTableExact: a field may have all of the table, and not a byte more.
func TestTableExact(t *testing.T) {
	for size, want := range map[uint32]uint32{33: 0, 34: 1, 67: 1, 68: 2} {
		tab := &table{max: size}
		for range 3 {
			tab.add(&message.Field{Name: "a", Value: "b"})
		}
		if tab.entries != want || tab.size != 34*want {
			t.Errorf("%d bytes have %d fields of %d bytes, want %d", size, tab.entries, tab.size, want)
		}
	}
}

// TestTableRing puts more through a ring than it ever has at once.
func TestTableRing(t *testing.T) {
	var model []*message.Field
	tab := &table{max: 34 * 5}
	for i := range 1000 {
		f := &message.Field{Name: string(rune('a' + i%26)), Value: string(rune('a' + i%7))}
		tab.add(f)
		model = append([]*message.Field{f}, model...)
		model = model[:min(len(model), int(tab.max)/34)]
		switch i {
		case 300:
			tab.resize(34 * 20)
		case 500:
			tab.resize(33)
		case 600:
			tab.resize(34 * 11)
		}
		model = model[:min(len(model), int(tab.max)/34)]
		if diff := cmp.Diff(lines(model), lines(contents(tab))); diff != "" {
			t.Fatalf("after %d (-want +got):\n%s", i, diff)
		}
		if tab.size != uint32(34*len(model)) {
			t.Fatalf("after %d the size is %d", i, tab.size)
		}
		for k, f := range model {
			if got, ok := tab.find(f); !ok || got != uint32(k) {
				t.Fatalf("after %d: find = %d, %v, want %d", i, got, ok, k)
			}
		}
	}
	held := 0
	for _, f := range tab.ring {
		if f != nil {
			held++
		}
	}
	if held != int(tab.entries) {
		t.Errorf("the ring holds %d fields, the table %d", held, tab.entries)
	}
}
