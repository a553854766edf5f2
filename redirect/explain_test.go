// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/redirect"
)

// TestExplain has a flow for every kind of rule, and one that just misses it.
func TestExplain(t *testing.T) {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.Ranges = ports(t, "8080,9000-9010")
	c.IncludeInboundCIDRs.Prefixes = cidrs(t, "10.1.0.0/16")
	c.ExcludeInboundCIDRs = cidrs(t, "10.1.9.0/24")
	c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{0, 50, 51}, []uint32{51}
	c.IncludeOutboundCIDRs.All = true
	c.ExcludeOutboundCIDRs = cidrs(t, "10.9.0.0/16,fd09::/16")
	c.ExcludeOutboundPorts = ports(t, "3306")
	c.ExcludeInterfaces = []string{"net1"}
	c.DropInvalid = true
	in := func(source, dest string) redirect.Flow {
		return redirect.Flow{Direction: redirect.Inbound, Source: netip.MustParseAddr(source), Dest: netip.MustParseAddrPort(dest), Interface: "eth0"}
	}
	out := func(dest string) redirect.Flow {
		return redirect.Flow{Direction: redirect.Outbound, Dest: netip.MustParseAddrPort(dest), Interface: "eth0"}
	}
	closed := func(f redirect.Flow) redirect.Flow { f.Closed = true; return f }
	with := func(f redirect.Flow, change func(*redirect.Flow)) redirect.Flow { change(&f); return f }
	tests := []struct {
		flow redirect.Flow
		want string
	}{
		{in("10.2.0.1", "10.0.0.5:8080"), "capture at 15006: ipv4 inbound rule 7, included inbound ports"},
		{in("10.2.0.1", "10.0.0.5:9011"), "pass: ipv4 inbound, no rule matches"},
		{in("10.1.0.1", "10.0.0.5:9011"), "capture at 15006: ipv4 inbound rule 8, included inbound CIDRs"},
		{in("10.1.9.1", "10.0.0.5:8080"), "pass: ipv4 inbound rule 6, excluded inbound CIDRs"},
		{in("::ffff:10.1.9.1", "[::ffff:10.0.0.5]:8080"), "pass: ipv4 inbound rule 6, excluded inbound CIDRs"},
		{in("10.1.0.1", "10.0.0.5:15090"), "pass: ipv4 inbound rule 5, excluded inbound ports"},
		{in("10.1.0.1", "10.0.0.5:15008"), "pass: ipv4 inbound rule 4, the tunnel is never captured"},
		{in("10.1.0.1", "127.0.0.1:8080"), "pass: ipv4 inbound rule 2, loopback from outside is for the kernel to drop"},
		{with(in("10.1.0.1", "10.0.0.5:8080"), func(f *redirect.Flow) { f.Interface = "net1" }), "pass: ipv4 inbound rule 3, excluded interfaces"},
		{in("fd01::1", "[fd00::5]:9010"), "capture at 15006: ipv6 inbound rule 6, included inbound ports"},
		{closed(in("10.2.0.1", "10.0.0.5:8080")), "pass: ipv4 inbound, nobody listens there, and the kernel refuses"},
		{closed(in("10.1.0.1", "10.0.0.5:9011")), "pass: ipv4 inbound, nobody listens there, and the kernel refuses"},
		{closed(in("10.2.0.1", "10.0.0.5:9011")), "pass: ipv4 inbound, no rule matches"},
		{closed(in("10.1.9.1", "10.0.0.5:8080")), "pass: ipv4 inbound rule 6, excluded inbound CIDRs"},
		{closed(out("10.0.0.5:443")), "capture at 15001: ipv4 outbound rule 14, everything else that leaves"},
		{out("10.0.0.5:443"), "capture at 15001: ipv4 outbound rule 14, everything else that leaves"},
		{out("10.0.0.5:3306"), "pass: ipv4 outbound rule 3, excluded outbound ports"},
		{out("10.9.0.5:443"), "pass: ipv4 outbound rule 13, excluded outbound CIDRs"},
		{out("[fd09::1]:443"), "pass: ipv6 outbound rule 13, excluded outbound CIDRs"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.Interface = "net1" }), "pass: ipv4 outbound rule 2, excluded interfaces"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.UID = 1337 }), "pass: ipv4 outbound rule 8, the proxy's own connections"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.GID = 1337 }), "pass: ipv4 outbound rule 9, the proxy's own connections"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.GID = 49 }), "pass: ipv4 outbound rule 10, owner groups that are not included"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.GID = 50 }), "capture at 15001: ipv4 outbound rule 14, everything else that leaves"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.GID = 51 }), "pass: ipv4 outbound rule 11, excluded owner groups"},
		{with(out("10.0.0.5:443"), func(f *redirect.Flow) { f.UDP = true }), "pass: ipv4 outbound, only TCP is steered"},
		{with(out("10.0.0.2:80"), func(f *redirect.Flow) { f.Interface = "lo" }), "pass: ipv4 outbound rule 7, application to application inside the pod"},
		{with(out("10.0.0.2:80"), func(f *redirect.Flow) { f.Interface, f.UID = "lo", 1337 }), "capture at 15006: ipv4 outbound rule 5, the pod calls itself through the proxy"},
		{with(out("10.0.0.2:15008"), func(f *redirect.Flow) { f.Interface, f.UID = "lo", 1337 }), "pass: ipv4 outbound rule 7, application to application inside the pod"},
		{with(out("127.0.0.1:80"), func(f *redirect.Flow) { f.Interface, f.UID = "lo", 1337 }), "pass: ipv4 outbound rule 7, application to application inside the pod"},
		{with(out("10.0.0.2:80"), func(f *redirect.Flow) {
			f.Interface, f.UID, f.Source = "lo", 1337, netip.MustParseAddr("127.0.0.6")
		}), "pass: ipv4 outbound rule 4, the proxy dials the application"},
	}
	for _, tt := range tests {
		v, err := redirect.Explain(c, tt.flow)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.String(); got != tt.want {
			t.Errorf("%+v:\n got %s\nwant %s", tt.flow, got, tt.want)
		}
		if (v.Number == 0) != (v.Rule == nil) || v.Rule != nil && !strings.HasSuffix(v.String(), v.Rule.Why) {
			t.Errorf("%+v: number %d, rule %v: want the rule that is numbered", tt.flow, v.Number, v.Rule)
		}
	}
}

func TestExplainWithoutChain(t *testing.T) {
	c := redirect.DefaultConfig()
	c.IPv6 = false
	for dest, want := range map[string]string{
		"10.0.0.5:80":  "pass: ipv4 inbound, nothing inbound is captured",
		"[fd00::5]:80": "pass: ipv6 inbound, ipv6 is not steered",
	} {
		v, err := redirect.Explain(c, redirect.Flow{Direction: redirect.Inbound, Dest: netip.MustParseAddrPort(dest)})
		if err != nil || v.String() != want {
			t.Errorf("%s: %v, %v; want %s", dest, v, err, want)
		}
	}
	c.IncludeInboundPorts.All, c.ClosedPorts = true, redirect.ClosedCapture
	v, err := redirect.Explain(c, redirect.Flow{Direction: redirect.Inbound, Dest: netip.MustParseAddrPort("10.0.0.5:80"), Closed: true})
	if want := "capture at 15006: ipv4 inbound rule 5, everything else that arrives"; err != nil || v.String() != want {
		t.Errorf("a closed port that is captured: %v, %v; want %s", v, err, want)
	}
	c.OutboundPort = 0
	if _, err := redirect.Explain(c, redirect.Flow{}); err == nil {
		t.Error("a config that can't be planned is explained")
	}
}
