// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"slices"
	"testing"

	nft "github.com/google/nftables"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// TestSets goes to the kernel's form and back, whatever order the kernel lists
// its elements in.
func TestSets(t *testing.T) {
	ports := func(list string) set {
		ranges, err := contract.ParsePorts(list)
		if err != nil {
			t.Fatal(err)
		}
		return portSet(&redirect.PortSet{Name: "s", Ranges: ranges})
	}
	addrs := func(f redirect.Family, list string) set {
		prefixes, err := contract.ParseCIDRs(list)
		if err != nil {
			t.Fatal(err)
		}
		return addrSet(&redirect.AddrSet{Name: "s", Prefixes: prefixes}, f)
	}
	tests := []struct {
		set      set
		elements int
		want     string
	}{
		{ports("80,9000-9010"), 4, "inet_service { 80, 9000-9010 }"},
		{ports("65535"), 1, "inet_service { 65535 }"},
		{ports("1-65535"), 1, "inet_service { 1-65535 }"},
		{ports("80,81"), 2, "inet_service { 80-81 }"},
		{addrs(redirect.IPv4, "0.0.0.0/0"), 1, "ipv4_addr { 0.0.0.0-255.255.255.255 }"},
		{addrs(redirect.IPv4, "10.0.0.0/25,10.0.0.128/25,10.0.2.1"), 4, "ipv4_addr { 10.0.0.0-10.0.0.255, 10.0.2.1 }"},
		{addrs(redirect.IPv6, "::/0"), 1, "ipv6_addr { ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }"},
		{addrs(redirect.IPv6, "fd00::/8,ffff::/16"), 3, "ipv6_addr { fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }"},
	}
	for _, tt := range tests {
		if got := tt.set.String(); got != tt.want {
			t.Errorf("set: %s, want %s", got, tt.want)
		}
		elements := tt.set.elements()
		if len(elements) != tt.elements {
			t.Errorf("%s: %d elements, want %d", tt.want, len(elements), tt.elements)
		}
		slices.Reverse(elements)
		if got := setOf("s", tt.set.typ, elements).String(); got != tt.want {
			t.Errorf("read back: %s, want %s", got, tt.want)
		}
	}
}

// TestForeignElements may have any form: a tampered set must not panic.
func TestForeignElements(t *testing.T) {
	for _, elements := range [][]nft.SetElement{
		nil,
		{{}},
		{{Key: []byte{0}, IntervalEnd: true}},
		{{Key: []byte{0, 0}}, {Key: []byte{0, 0}}, {Key: []byte{1}}},
	} {
		_ = setOf("s", nft.TypeInetService, elements).String()
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/9": "255.128.0.0", "10.0.0.0/0": "0.0.0.0", "10.0.0.1/32": "255.255.255.255"} {
		p := netip.MustParsePrefix(text)
		if got := netip.AddrFrom4([4]byte(mask(p.Bits(), 4))); got.String() != want {
			t.Errorf("mask of %s: %v, want %s", text, got, want)
		}
	}
}
