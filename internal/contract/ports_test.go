// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParsePorts(t *testing.T) {
	tests := []struct {
		in   string
		want []contract.PortRange
		err  string
	}{
		{in: ""},
		{in: "  "},
		{in: "80", want: []contract.PortRange{{First: 80, Last: 80}}},
		{in: "8081, 9000-9010", want: []contract.PortRange{{First: 8081, Last: 8081}, {First: 9000, Last: 9010}}},
		{in: "1,65535", want: []contract.PortRange{{First: 1, Last: 1}, {First: 65535, Last: 65535}}},
		{in: "0", err: "out of range"},
		{in: "65536", err: "out of range"},
		{in: "99999999999999999999", err: "out of range"},
		{in: "-1", err: "out of range"},
		{in: "+80", err: "not a number"},
		{in: "http", err: `port "http" is not a number`},
		{in: "80,,90", err: "out of range"},
		{in: "80,", err: "out of range"},
		{in: "90-80", err: "write 80-90"},
		{in: "80-", err: "out of range"},
		{in: "1-2-3", err: "not a number"},
		{in: "８０", err: "not a number"},
		{in: strings.Repeat("1,", 1024) + "1", err: "at most 1024"},
	}
	for _, tt := range tests {
		got, err := contract.ParsePorts(tt.in)
		if !matches(err, tt.err) {
			t.Errorf("ParsePorts(%q): error %v, want one with %q", tt.in, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParsePorts(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestParseCIDRs(t *testing.T) {
	tests := []struct {
		in   string
		want []string
		err  string
	}{
		{in: ""},
		{in: "10.0.0.1/8, fd00::1/8", want: []string{"10.0.0.0/8", "fd00::/8"}},
		{in: "192.0.2.1,2001:db8::1", want: []string{"192.0.2.1/32", "2001:db8::1/128"}},
		{in: "*", err: "no CIDR"},
		{in: "10.0.0.0/33", err: "no CIDR"},
		{in: "fe80::1%eth0", err: "no CIDR"},
		{in: "10.0.0.0/8,", err: `entry ""`},
	}
	for _, tt := range tests {
		got, err := contract.ParseCIDRs(tt.in)
		if !matches(err, tt.err) {
			t.Errorf("ParseCIDRs(%q): error %v, want one with %q", tt.in, err, tt.err)
		}
		var want []netip.Prefix
		for _, s := range tt.want {
			want = append(want, netip.MustParsePrefix(s))
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("ParseCIDRs(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func FuzzParsePorts(f *testing.F) {
	f.Add("8081,9000-9010")
	f.Fuzz(func(t *testing.T, in string) {
		ranges, err := contract.ParsePorts(in)
		if err != nil {
			return
		}
		for _, r := range ranges {
			back, err := contract.ParsePorts(r.String())
			if err != nil || len(back) != 1 || back[0] != r {
				t.Fatalf("ParsePorts(%q) = %v, %v; want %v again", r.String(), back, err, r)
			}
		}
	})
}

func FuzzParseCIDRs(f *testing.F) {
	f.Add("10.0.0.0/8,fd00::/8")
	f.Fuzz(func(t *testing.T, in string) {
		prefixes, err := contract.ParseCIDRs(in)
		if err != nil {
			return
		}
		for _, p := range prefixes {
			if p != p.Masked() {
				t.Fatalf("ParseCIDRs(%q) gave %v with host bits set", in, p)
			}
		}
	})
}

func matches(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}
