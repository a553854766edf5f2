// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestBalanceLayout holds the sizes of bpf/balance.h, and the limits.
func TestBalanceLayout(t *testing.T) {
	spec, err := loadPrograms()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		key, value any
		most       uint32
	}{
		programsMapServices: {place{}, slotKey(0), MaxServices},
		programsMapSlots:    {slotKey(0), place{}, 2 * MaxSlots},
		programsMapRemovals: {removal{}, uint32(0), MaxSlots},
	} {
		m := spec.Maps[name]
		if key, value := binary.Size(want.key), binary.Size(want.value); int(m.KeySize) != key || int(m.ValueSize) != value {
			t.Errorf("%s: key of %d and value of %d bytes, want %d and %d", name, m.KeySize, m.ValueSize, key, value)
		}
		if m.MaxEntries != want.most {
			t.Errorf("%s: room for %d, want %d", name, m.MaxEntries, want.most)
		}
	}
	if got := binary.Size(doomed{}); got != doomedSize {
		t.Errorf("a doomed connection has %d bytes, want %d", got, doomedSize)
	}
}

func TestTableOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   Service
		want string
	}{
		{"no endpoint", to("10.0.0.1:80"), "0 of []"},
		{"equal weights, sorted", to("10.0.0.1:80", at("10.1.0.2:8080", 7), at("10.1.0.1:8081", 7), at("10.1.0.1:8080", 7)), "3 of [10.1.0.1:8080 10.1.0.1:8081 10.1.0.2:8080]"},
		{"a weight is slots", to("10.0.0.1:80", at("10.1.0.1:80", 4), at("10.1.0.2:80", 2)), "3 of [10.1.0.1:80 10.1.0.1:80 10.1.0.2:80]"},
		{"no weight stands behind", to("10.0.0.1:80", at("10.1.0.1:80", 0), at("10.1.0.2:80", 2)), "1 of [10.1.0.2:80 10.1.0.1:80]"},
		{"no weight at all", to("10.0.0.1:80", at("10.1.0.1:80", 0)), "0 of [10.1.0.1:80]"},
		{"twice", to("10.0.0.1:80", at("10.1.0.1:80", 2), at("10.1.0.1:80", 0), at("10.1.0.1:80", 1)), "1 of [10.1.0.1:80]"},
		{"mapped is IPv4", to("[::ffff:10.0.0.1]:80", at("10.1.0.1:80", 1)), "1 of [10.1.0.1:80]"},
		{"IPv6", to("[fd00::1]:80", at("[fd00::2]:80", 1)), "1 of [[fd00::2]:80]"},
	} {
		got, err := tableOf(tt.of)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if text := fmt.Sprintf("%d of %v", got.slots, got.places); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
	}
}

func to(addr string, endpoints ...Endpoint) Service {
	return Service{netip.MustParseAddrPort(addr), endpoints}
}

func at(addr string, weight uint32) Endpoint {
	return Endpoint{netip.MustParseAddrPort(addr), weight}
}

// manyServices are so many services of each so many endpoints of equal weight.
func manyServices(services, endpoints int) []Service {
	out := make([]Service, services)
	for i := range out {
		out[i].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), 80)
		for j := range endpoints {
			a := netip.AddrFrom4([4]byte{10, byte(100 + j>>8), byte(j), byte(i)})
			out[i].Endpoints = append(out[i].Endpoints, Endpoint{netip.AddrPortFrom(a, 8080), 1})
		}
	}
	return out
}

// TestWhatDoesNotFit is refused by name.
func TestWhatDoesNotFit(t *testing.T) {
	for name, tt := range map[string]struct {
		want []Service
		says []string
	}{
		"no address":      {[]Service{{}}, []string{"no address"}},
		"no port":         {[]Service{to("10.0.0.1:0")}, []string{"10.0.0.1:0", "no port"}},
		"unspecified":     {[]Service{to("0.0.0.0:80")}, []string{"0.0.0.0:80", "unspecified"}},
		"loopback":        {[]Service{to("10.0.0.1:80", at("127.0.0.1:80", 1))}, []string{"10.0.0.1:80", "endpoint 127.0.0.1:80", "loopback"}},
		"zone":            {[]Service{to("[fd00::1]:80", at("[fe80::1%eth0]:80", 1))}, []string{"[fd00::1]:80", "zone"}},
		"other family":    {[]Service{to("10.0.0.1:80", at("[fd00::2]:80", 1))}, []string{"10.0.0.1:80", "[fd00::2]:80", "IP family"}},
		"twice":           {[]Service{to("10.0.0.1:80"), to("[::ffff:10.0.0.1]:80")}, []string{"10.0.0.1", "twice"}},
		"many endpoints":  {manyServices(1, MaxEndpoints+1), []string{"10.96.0.0:80", "1025 endpoints", "1024"}},
		"many services":   {manyServices(MaxServices+1, 0), []string{"16385 services", "16384"}},
		"many slots":      {manyServices(MaxServices, 4), nil},
		"more slots":      {manyServices(MaxServices, 5), []string{"10.96.51.51:80", "65536 slots"}},
		"as much as fits": {manyServices(MaxSlots/MaxEndpoints, MaxEndpoints), nil},
	} {
		_, err := tablesOf(tt.want)
		if (err != nil) != (tt.says != nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range tt.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q, want it to say %q", name, err, part)
			}
		}
	}
}
