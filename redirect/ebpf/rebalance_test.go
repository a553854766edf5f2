// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"slices"
	"testing"
)

// hold is what is pinned after these services were written one after the other.
func hold(t *testing.T, services ...Service) pinned {
	t.Helper()
	h := pinned{words: map[place]slotKey{}, tables: map[uint64][]place{}}
	for i, s := range services {
		tb, err := tableOf(s)
		if err != nil {
			t.Fatal(err)
		}
		number := uint64(i + 1)
		h.words[placeOf(s.Addr)] = slotKeyOf(number, tb.slots)
		h.tables[number] = tb.places
	}
	return h
}

func wanted(t *testing.T, services ...Service) map[place]table {
	t.Helper()
	out, err := tablesOf(services)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// String returns what a change does, in short.
func (c change) String() string {
	text := func(keys []slotKey) (out []string) {
		for _, k := range keys {
			out = append(out, fmt.Sprintf("%d/%d", k.table(), k.slot()))
		}
		slices.Sort(out)
		return out
	}
	var removed []string
	for _, r := range c.removals {
		removed = append(removed, fmt.Sprintf("%v<-%v", r.Service, r.Endpoint))
	}
	return fmt.Sprintf("write %v as %v, with %v at %v; drop %v; erase %v; removed %v",
		c.services, text(c.words), c.places, text(c.keys), c.dropped, text(c.erased), removed)
}

func TestChange(t *testing.T) {
	a, b := to("10.0.0.1:80", at("10.1.0.1:80", 1), at("10.1.0.2:80", 1)), to("10.0.0.2:80", at("10.1.0.1:80", 1))
	for _, tt := range []struct {
		name       string
		from, into []Service
		want       string
	}{
		{"nothing", nil, nil, "write [] as [], with [] at []; drop []; erase []; removed []"},
		{"the same", []Service{a, b}, []Service{b, a}, "write [] as [], with [] at []; drop []; erase []; removed []"},
		{"the first", nil, []Service{b}, "write [10.0.0.2:80] as [1/1], with [10.1.0.1:80] at [1/0]; drop []; erase []; removed []"},
		{"another one", []Service{a}, []Service{a, b}, "write [10.0.0.2:80] as [2/1], with [10.1.0.1:80] at [2/0]; drop []; erase []; removed []"},
		{
			"an endpoint less",
			[]Service{a, b},
			[]Service{to("10.0.0.1:80", at("10.1.0.2:80", 1)), b},
			"write [10.0.0.1:80] as [3/1], with [10.1.0.2:80] at [3/0]; drop []; erase [1/0 1/1]; removed [10.0.0.1:80<-10.1.0.1:80]",
		},
		{
			"an endpoint drained",
			[]Service{a},
			[]Service{to("10.0.0.1:80", at("10.1.0.1:80", 0), at("10.1.0.2:80", 1))},
			"write [10.0.0.1:80] as [2/1], with [10.1.0.2:80 10.1.0.1:80] at [2/0 2/1]; drop []; erase [1/0 1/1]; removed []",
		},
		{
			"and then removed",
			[]Service{to("10.0.0.1:80", at("10.1.0.1:80", 0), at("10.1.0.2:80", 1))},
			[]Service{to("10.0.0.1:80", at("10.1.0.2:80", 1))},
			"write [10.0.0.1:80] as [2/1], with [10.1.0.2:80] at [2/0]; drop []; erase [1/0 1/1]; removed [10.0.0.1:80<-10.1.0.1:80]",
		},
		{
			"of several slots",
			[]Service{to("10.0.0.1:80", at("10.1.0.1:80", 2), at("10.1.0.2:80", 1))},
			[]Service{to("10.0.0.1:80")},
			"write [10.0.0.1:80] as [2/0], with [] at []; drop []; erase [1/0 1/1 1/2]; removed [10.0.0.1:80<-10.1.0.1:80 10.0.0.1:80<-10.1.0.2:80]",
		},
		{"a service less", []Service{a, b}, []Service{b}, "write [] as [], with [] at []; drop [10.0.0.1:80]; erase [1/0 1/1]; removed []"},
	} {
		c := hold(t, tt.from...).changeTo(wanted(t, tt.into...))
		if got := c.String(); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// TestTableNumbers are above all that are there, the strays' too: a killed Balance
// may have written those a moment ago.
func TestTableNumbers(t *testing.T) {
	h := hold(t, to("10.0.0.1:80", at("10.1.0.1:80", 1)))
	h.stray = []slotKey{slotKeyOf(7, 3)}
	c := h.changeTo(wanted(t, to("10.0.0.1:80")))
	if got, want := c.words[0], slotKeyOf(8, 0); got != want {
		t.Errorf("the next table is %d, want %d", got.table(), want.table())
	}
}

// TestUnfinished ends what is gone, and no connection to an endpoint that is there
// or is wanted again.
func TestUnfinished(t *testing.T) {
	service := placeOf(to("10.0.0.1:80").Addr)
	lost := func(addr string) removal { return removal{service, placeOf(to(addr).Addr)} }
	h := hold(t, to("10.0.0.1:80", at("10.1.0.1:80", 0)))
	h.removals = []removal{lost("10.1.0.1:80"), lost("10.1.0.2:80"), lost("10.1.0.3:80")}
	gone, again := h.unfinished(wanted(t, to("10.0.0.1:80", at("10.1.0.2:80", 1))))
	if len(gone) != 1 || gone[0] != h.removals[2] || !slices.Equal(again, h.removals[:2]) {
		t.Errorf("gone %v, again %v", gone, again)
	}
}
