// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

var update = flag.Bool("update", false, "write the golden files")

// TestTextGolden holds what is written for a plan with each kind of rule.
func TestTextGolden(t *testing.T) {
	c := redirect.DefaultConfig()
	c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{0, 7}, []uint32{8}
	c.IncludeInboundPorts = redirect.Ports{Ranges: []contract.PortRange{{First: 80, Last: 90}}}
	c.IncludeInboundCIDRs.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	c.ExcludeInboundCIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("fd02::1/128")}
	c.IncludeOutboundPorts = []contract.PortRange{{First: 443, Last: 443}}
	c.IncludeOutboundCIDRs.All = true
	c.ExcludeInterfaces = []string{"net1"}
	c.DropInvalid = true
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Text(p)
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/every-condition.iptables"
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

func TestMultiports(t *testing.T) {
	one := func(p uint16) contract.PortRange { return contract.PortRange{First: p, Last: p} }
	var fifteen []contract.PortRange
	for i := range uint16(15) {
		fifteen = append(fifteen, one(1+2*i))
	}
	tests := []struct {
		ranges []contract.PortRange
		want   []string
	}{
		{[]contract.PortRange{one(80)}, []string{"80"}},
		{[]contract.PortRange{{First: 80, Last: 90}, one(65535)}, []string{"80:90,65535"}},
		{fifteen, []string{"1,3,5,7,9,11,13,15,17,19,21,23,25,27,29"}},
		{append(slices.Clone(fifteen[:14]), contract.PortRange{First: 80, Last: 90}), []string{"1,3,5,7,9,11,13,15,17,19,21,23,25,27", "80:90"}},
		{append(slices.Clone(fifteen), one(31)), []string{"1,3,5,7,9,11,13,15,17,19,21,23,25,27,29", "31"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, multiports(tt.ranges)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.ranges, diff)
		}
	}
}

// TestRenderRefusesTwoSets, which would need a line for every pair of entries.
func TestRenderRefusesTwoSets(t *testing.T) {
	r := redirect.Rule{Action: redirect.Pass, Match: redirect.Match{Dest: &redirect.AddrSet{}, DestPorts: &redirect.PortSet{}}}
	p := redirect.Plan{Families: []redirect.FamilyPlan{{Family: redirect.IPv4, Chains: []redirect.Chain{{Direction: redirect.Inbound, Rules: []redirect.Rule{r}}}}}}
	if _, err := render(p); err == nil || !strings.Contains(err.Error(), "ipv4 inbound rule 1: 2 sets") {
		t.Errorf("render: %v, want it to name the rule", err)
	}
}

// TestGenerationDiffersWithRules, and with nothing else.
func TestGenerationDiffersWithRules(t *testing.T) {
	c := redirect.DefaultConfig()
	of := func() string {
		p, err := redirect.NewPlan(c)
		if err != nil {
			t.Fatal(err)
		}
		w, err := render(p)
		if err != nil {
			t.Fatal(err)
		}
		return w.of(redirect.IPv4).generation
	}
	before := of()
	if again := of(); again != before {
		t.Errorf("generation of equal rules: %s and %s", before, again)
	}
	c.InboundPort = 15002
	if after := of(); after == before {
		t.Errorf("generation of other rules: %s as well", after)
	}
}
