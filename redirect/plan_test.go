// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

var update = flag.Bool("update", false, "write the golden files")

func TestPlanGolden(t *testing.T) {
	tests := []struct {
		name   string
		change func(*redirect.Config)
	}{
		{"nothing", func(*redirect.Config) {}},
		{"everything", func(c *redirect.Config) {
			c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
			c.ExcludeInboundPorts = ports(t, "15090,15020")
		}},
		{"ipv4", func(c *redirect.Config) {
			c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All, c.IPv6 = true, true, false
		}},
		{"precedence", func(c *redirect.Config) {
			c.OutboundPort, c.InboundPort, c.TunnelPort = 25001, 25006, 25008
			c.ProxyUIDs, c.ProxyGIDs = []uint32{1337, 1338}, []uint32{7}
			c.IncludeInboundPorts.Ranges = ports(t, "9000-9010,80")
			c.ExcludeInboundPorts = ports(t, "9005")
			c.IncludeOutboundPorts = ports(t, "443")
			c.ExcludeOutboundPorts = ports(t, "3306,33060")
			c.IncludeOutboundCIDRs.Prefixes = cidrs(t, "10.0.0.0/8,fd00::/8")
			c.ExcludeOutboundCIDRs = cidrs(t, "10.9.0.0/16,fd09::/16")
		}},
		{"merged", func(c *redirect.Config) {
			c.ExcludeInboundPorts, c.IncludeInboundPorts.All = ports(t, "90-100,80,81,95,65535,100-120,1,65530-65534"), true
			c.ExcludeOutboundCIDRs = cidrs(t, "10.1.2.3,10.0.0.0/8,10.255.0.0/16,11.0.0.0/8,0.0.0.0/32,::/0,fd00::/8")
			c.IncludeOutboundCIDRs.All = true
		}},
		{"callers", func(c *redirect.Config) {
			c.IncludeInboundPorts.Ranges = ports(t, "8080")
			c.IncludeInboundCIDRs.Prefixes = cidrs(t, "10.1.0.0/16,fd01::/16")
			c.ExcludeInboundCIDRs = cidrs(t, "10.1.9.0/24")
			c.DropInvalid = true
		}},
		{"owners", func(c *redirect.Config) {
			c.IPv4, c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = false, true, true
			c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{202, 0, 202}, []uint32{888, 21}
			c.ExcludeInterfaces = []string{"net1", "net1.42"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := redirect.DefaultConfig()
			tt.change(&c)
			p, err := redirect.NewPlan(c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name, p.String())
		})
	}
}

func TestValidateNamesFlagValueAndAllowed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*redirect.Config)
		want   []string
	}{
		{"no outbound port", func(c *redirect.Config) { c.OutboundPort = 0 }, []string{"-p/--envoy-port", `"0"`, "1 to 65535"}},
		{"no inbound port", func(c *redirect.Config) { c.InboundPort = 0 }, []string{"-z/", `"0"`, "1 to 65535"}},
		{"same ports", func(c *redirect.Config) { c.InboundPort = 15001 }, []string{"-z/", `"15001"`, "other than that of -p/"}},
		{"tunnel port", func(c *redirect.Config) { c.TunnelPort = 15006 }, []string{"-e/", `"15006"`, "other than that of -z/"}},
		{"root", func(c *redirect.Config) { c.ProxyUIDs = []uint32{1337, 0} }, []string{"-u/--proxy-uid", `"0"`, "1 to 4294967294"}},
		{"root's group", func(c *redirect.Config) { c.ProxyGIDs = []uint32{0} }, []string{"-g/--proxy-gid", `"0"`}},
		{"no user", func(c *redirect.Config) { c.ProxyUIDs = []uint32{1<<32 - 1} }, []string{"-u/", `"4294967295"`}},
		{"too many users", func(c *redirect.Config) { c.ProxyUIDs = make([]uint32, 17) }, []string{"-u/", "17 entries", "at most 16"}},
		{"no owner", func(c *redirect.Config) { c.ProxyUIDs, c.ProxyGIDs = nil, nil }, []string{"-u/", "at least one"}},
		{"loopback included", func(c *redirect.Config) { c.IncludeOutboundCIDRs.Prefixes = cidrs(t, "127.1.0.0/16") }, []string{"-i/", `"127.1.0.0/16"`, "outside of 127.0.0.0/8"}},
		{"IPv6 loopback included", func(c *redirect.Config) { c.IncludeOutboundCIDRs.Prefixes = cidrs(t, "::1") }, []string{"-i/", `"::1/128"`}},
		{"IPv6 without IPv6", func(c *redirect.Config) { c.IPv6, c.ExcludeOutboundCIDRs = false, cidrs(t, "fd00::/8") }, []string{"-x/", `"fd00::/8"`, "--ipv6 is off"}},
		{"mapped", func(c *redirect.Config) { c.ExcludeOutboundCIDRs = cidrs(t, "::ffff:10.0.0.1") }, []string{"-x/", "IPv4 in its own form"}},
		{"no prefix", func(c *redirect.Config) { c.ExcludeOutboundCIDRs = []netip.Prefix{{}} }, []string{"-x/", "prefixes such as"}},
		{"reversed range", func(c *redirect.Config) { c.ExcludeInboundPorts = []contract.PortRange{{First: 9, Last: 8}} }, []string{"-d/", `"9-8"`}},
		{"neither family", func(c *redirect.Config) { c.IPv4, c.IPv6 = false, false }, []string{"--ipv6", "--ipv4 is off"}},
		{"IPv4 without IPv4", func(c *redirect.Config) { c.IPv4, c.ExcludeInboundCIDRs = false, cidrs(t, "10.0.0.0/8") }, []string{"--exclude-inbound-cidrs", `"10.0.0.0/8"`, "--ipv4 is off"}},
		{"mapped callers", func(c *redirect.Config) { c.IncludeInboundCIDRs.Prefixes = cidrs(t, "::ffff:10.0.0.1") }, []string{"--include-inbound-cidrs", "IPv4 in its own form"}},
		{"no group", func(c *redirect.Config) { c.OwnerGroups = []uint32{1<<32 - 1} }, []string{"--owner-groups", `"4294967295"`}},
		{"too many groups", func(c *redirect.Config) { c.ExcludeOwnerGroups = make([]uint32, 65) }, []string{"--exclude-owner-groups", "65 entries", "at most 64"}},
		{"no interface", func(c *redirect.Config) { c.ExcludeInterfaces = []string{""} }, []string{"-c/", `""`}},
		{"long interface", func(c *redirect.Config) { c.ExcludeInterfaces = []string{"sixteen-letters-"} }, []string{"-c/", "1 to 15"}},
		{"wildcard", func(c *redirect.Config) { c.ExcludeInterfaces = []string{"eth+"} }, []string{"-c/", `"eth+"`, "without wildcards"}},
		{"quote", func(c *redirect.Config) { c.ExcludeInterfaces = []string{"a\" -j"} }, []string{"-c/"}},
		{"too many interfaces", func(c *redirect.Config) { c.ExcludeInterfaces = make([]string, 17) }, []string{"-c/", "17 entries"}},
		{"closed ports", func(c *redirect.Config) { c.ClosedPorts = 3 }, []string{"--closed-ports", `"ClosedPorts(3)"`, "auto, refuse, capture"}},
		{"port 0", func(c *redirect.Config) { c.ExcludeOutboundPorts = []contract.PortRange{{}} }, []string{"-o/", `"0"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := redirect.DefaultConfig()
			tt.change(&c)
			_, err := redirect.NewPlan(c)
			var ce *redirect.ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("NewPlan: %v, want a ConfigError", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q, want it to say %q", err, part)
				}
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func ports(t *testing.T, list string) []contract.PortRange {
	t.Helper()
	out, err := contract.ParsePorts(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func cidrs(t *testing.T, list string) []netip.Prefix {
	t.Helper()
	out, err := contract.ParseCIDRs(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
