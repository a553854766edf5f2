// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlatten(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.9.0.2")
	all, half, inner := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("10.9.1.0/24")
	for _, tt := range []struct {
		name   string
		routes []route
		want   []string
	}{
		{"none", nil, nil},
		{"one", []route{{half, a}}, []string{"10.9.0.0 to 10.9.255.255 from 10.0.0.2"}},
		{"a hole", []route{{all, a}, {half, b}}, []string{
			"0.0.0.0 to 10.8.255.255 from 10.0.0.2", "10.9.0.0 to 10.9.255.255 from 10.9.0.2", "10.10.0.0 to 255.255.255.255 from 10.0.0.2",
		}},
		{"the same source", []route{{inner, b}, {half, b}}, []string{"10.9.0.0 to 10.9.255.255 from 10.9.0.2"}},
		{"a hole in a hole", []route{{half, a}, {inner, b}}, []string{
			"10.9.0.0 to 10.9.0.255 from 10.0.0.2", "10.9.1.0 to 10.9.1.255 from 10.9.0.2", "10.9.2.0 to 10.9.255.255 from 10.0.0.2",
		}},
	} {
		var got []string
		for _, s := range flatten(tt.routes) {
			got = append(got, fmt.Sprintf("%v to %v from %v", s.First.addr(), s.Last.addr(), s.source))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestFlattenAgrees asks both ways for random routes and addresses.
func TestFlattenAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var routes []route
		for i := range random.IntN(12) {
			bits := random.IntN(33)
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(random.IntN(4)), byte(random.IntN(4)), 0, byte(random.IntN(256))}), bits).Masked()
			if !slices.ContainsFunc(routes, func(r route) bool { return r.dest == p }) {
				routes = append(routes, route{p, netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})})
			}
		}
		flat := flatten(routes)
		for range 30 {
			at := netip.AddrFrom4([4]byte{byte(random.IntN(5)), byte(random.IntN(5)), byte(random.IntN(2)), byte(random.IntN(256))})
			want, _ := longest(routes, wideOf(at))
			var got netip.Addr
			for _, s := range flat {
				if !wideOf(at).less(s.First) && !s.Last.less(wideOf(at)) {
					got = s.source
				}
			}
			if got != want {
				t.Fatalf("%v with %v: from %v, want %v", at, routes, got, want)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	got := merge([]span{number(9), number(1), {wide{Low: 3}, wide{Low: 7}}, number(2), {wide{Low: 4}, wide{Low: 5}}, {wide{^uint64(0), ^uint64(0)}, wide{^uint64(0), ^uint64(0)}}})
	want := []span{{wide{Low: 1}, wide{Low: 7}}, number(9), {wide{^uint64(0), ^uint64(0)}, wide{^uint64(0), ^uint64(0)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPrefixSpan(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":     "10.0.0.0 to 10.255.255.255",
		"0.0.0.0/0":      "0.0.0.0 to 255.255.255.255",
		"192.0.2.1/32":   "192.0.2.1 to 192.0.2.1",
		"2001:db8::/32":  "2001:db8:: to 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
		"fd00::1234/128": "fd00::1234 to fd00::1234",
		"fd00::/65":      "fd00:: to fd00::7fff:ffff:ffff:ffff",
	} {
		s := prefixSpan(netip.MustParsePrefix(text))
		if got := fmt.Sprintf("%v to %v", s.First.addr(), s.Last.addr()); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
