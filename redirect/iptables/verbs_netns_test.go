// SPDX-License-Identifier: Apache-2.0

//go:build netns

package iptables_test

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/iptables"
)

// variants runs a test for each; the prerequisites of the tests bring both.
func variants(t *testing.T, f func(*testing.T, pod)) {
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		t.Run(v.String(), func(t *testing.T) { f(t, pod{testnet.New(t), v}) })
	}
}

// pod is a namespace and the variant that a test is about.
type pod struct {
	*testnet.Namespace
	variant iptables.Variant
}

func (p pod) apply(t *testing.T, c redirect.Config) (changed bool) {
	t.Helper()
	plan := plan(t, c)
	p.Do(t, func() (err error) {
		changed, err = iptables.Backend{Variant: p.variant}.Apply(t.Context(), plan)
		return err
	})
	return changed
}

func (p pod) check(t *testing.T, c redirect.Config) (err error) {
	t.Helper()
	plan := plan(t, c)
	p.Do(t, func() error {
		err = iptables.Backend{Variant: p.variant}.Check(t.Context(), plan)
		return nil
	})
	return err
}

func (p pod) remove(t *testing.T) {
	t.Helper()
	p.Do(t, func() error { return iptables.Backend{Variant: p.variant}.Remove(t.Context()) })
}

// ipt runs one of the variant's programs, such as "iptables -t nat -F".
func (p pod) ipt(t *testing.T, line string) string {
	t.Helper()
	args := strings.Fields(line)
	suffix := strings.TrimPrefix(p.variant.String(), "iptables")
	program := strings.TrimSuffix(args[0], "-save") + suffix
	if strings.HasSuffix(args[0], "-save") {
		program += "-save"
	}
	var out []byte
	p.Do(t, func() (err error) {
		out, err = exec.Command(program, args[1:]...).Output()
		return err
	})
	return string(out)
}

// rules returns what iptables-save says of both families, without what changes
// by itself and without empty tables.
func (p pod) rules(t *testing.T) string {
	t.Helper()
	var out []string
	for _, save := range []string{"iptables-save", "ip6tables-save"} {
		for l := range strings.Lines(p.ipt(t, save)) {
			if strings.HasPrefix(l, "-A") || strings.HasPrefix(l, ":") && strings.Contains(l, " - ") {
				out = append(out, save+" "+strings.TrimSpace(l))
			}
		}
	}
	return strings.Join(out, "\n")
}

func plan(t *testing.T, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func captureAll() redirect.Config {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	return c
}

// everyCondition has each kind of rule, and lists that take several lines.
func everyCondition() redirect.Config {
	c := captureAll()
	c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{0, 7}, []uint32{8, 9}
	c.IncludeInboundPorts = redirect.Ports{Ranges: []contract.PortRange{{First: 80, Last: 90}}}
	for i := range uint16(40) {
		c.ExcludeInboundPorts = append(c.ExcludeInboundPorts, contract.PortRange{First: 1000 + 3*i, Last: 1000 + 3*i + i%2})
	}
	c.IncludeInboundCIDRs.Prefixes = prefixes("10.1.0.0/16", "10.3.0.1/32", "fd01::/16")
	c.ExcludeInboundCIDRs = prefixes("10.2.0.0/16", "fd02::1/128")
	c.IncludeOutboundPorts = []contract.PortRange{{First: 443, Last: 443}}
	c.ExcludeOutboundCIDRs = prefixes("0.0.0.0/8", "::/16")
	c.ExcludeInterfaces = []string{"net1", "fifteen-letters"}
	c.DropInvalid = true
	return c
}

// spelling has what iptables-save spells in its own way.
func spelling() redirect.Config {
	c := captureAll()
	c.ExcludeInboundCIDRs = prefixes("0.0.0.0/0", "::/0")
	c.ExcludeOutboundCIDRs = prefixes("128.0.0.0/1", "::1.2.3.4/128", "2001:db8:0:0:1::/80")
	return c
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func isDifference(err error) bool {
	var d *redirect.Difference
	return errors.As(err, &d)
}

func TestApplyIsIdempotent(t *testing.T) {
	for name, c := range map[string]redirect.Config{"everything": captureAll(), "every condition": everyCondition(), "spelling": spelling()} {
		t.Run(name, func(t *testing.T) {
			variants(t, func(t *testing.T, p pod) {
				if err := p.check(t, c); !isDifference(err) {
					t.Errorf("check before: %v, want a difference", err)
				}
				if !p.apply(t, c) {
					t.Error("first apply: no change, want one")
				}
				if err := p.check(t, c); err != nil {
					t.Error(err)
				}
				before := p.ipt(t, "iptables-save -c")
				if p.apply(t, c) {
					t.Error("second apply: a change, want none")
				}
				if !strings.Contains(before, "SHUNT_INBOUND") {
					t.Errorf("rules: %s", before)
				}
			})
		})
	}
}

// TestApplyReplaces goes through configs that need other chains and families,
// back to the first.
func TestApplyReplaces(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		p.apply(t, captureAll())
		first := p.rules(t)
		v4 := captureAll()
		v4.IPv6 = false
		v6 := captureAll()
		v6.IPv4 = false
		outbound := redirect.DefaultConfig()
		outbound.IncludeOutboundCIDRs.All = true
		for _, c := range []redirect.Config{everyCondition(), v4, v6, outbound, captureAll()} {
			if err := p.check(t, c); !isDifference(err) {
				t.Errorf("check before the new config: %v, want a difference", err)
			}
			if !p.apply(t, c) {
				t.Error("apply of a new config: no change, want one")
			}
			if err := p.check(t, c); err != nil {
				t.Error(err)
			}
		}
		if got := p.rules(t); got != first {
			t.Errorf("back at the first config:\n%s\nwant\n%s", got, first)
		}
	})
}

// TestForeignRules stay as they are, in their order, under every verb.
func TestForeignRules(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		for _, line := range []string{
			"iptables -t nat -N THEIRS",
			"iptables -t nat -A OUTPUT -p tcp --dport 53 -j THEIRS",
			"iptables -t filter -A INPUT -p tcp --dport 22 -m comment --comment it's -j ACCEPT",
			"ip6tables -t mangle -P FORWARD DROP",
		} {
			p.ipt(t, line)
		}
		before := p.rules(t)
		p.remove(t) // of what is not there
		p.apply(t, everyCondition())
		p.apply(t, captureAll())
		for l := range strings.Lines(before) {
			if !strings.Contains(p.rules(t), strings.TrimSpace(l)) {
				t.Errorf("after apply, %q is gone", l)
			}
		}
		p.remove(t)
		if after := p.rules(t); after != before {
			t.Errorf("after remove:\n%s\nwant\n%s", after, before)
		}
		if policy := p.ipt(t, "ip6tables -t mangle -S FORWARD"); !strings.Contains(policy, "-P FORWARD DROP") {
			t.Errorf("policy of others: %s", policy)
		}
		p.remove(t)
	})
}

// TestOlderVersion finds what a version with other chains would have left.
func TestOlderVersion(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		for _, line := range []string{
			"iptables -t nat -N SHUNT_INBOUND",
			"iptables -t nat -N SHUNT_OLD",
			"iptables -t nat -A SHUNT_OLD -p udp -j REDIRECT --to-ports 1",
			"iptables -t nat -A SHUNT_INBOUND -p tcp -j SHUNT_OLD",
			"iptables -t nat -A PREROUTING -j SHUNT_INBOUND",
			"iptables -t nat -A OUTPUT -g SHUNT_OLD",
			"iptables -t raw -N SHUNT_RAW",
			"iptables -t raw -A OUTPUT -p udp -j SHUNT_RAW",
		} {
			p.ipt(t, line)
		}
		c := captureAll()
		if err := p.check(t, c); !isDifference(err) {
			t.Errorf("check: %v, want a difference", err)
		}
		p.apply(t, c)
		if err := p.check(t, c); err != nil {
			t.Error(err)
		}
		if got := p.rules(t); strings.Contains(got, "SHUNT_OLD") || strings.Contains(got, "SHUNT_RAW") {
			t.Errorf("left of the old version:\n%s", got)
		}
		p.remove(t)
		if got := p.rules(t); got != "" {
			t.Errorf("after remove:\n%s", got)
		}
	})
}

func TestCheckNamesTheDifference(t *testing.T) {
	c := captureAll()
	c.ExcludeInboundPorts = []contract.PortRange{{First: 9000, Last: 9010}}
	tests := []struct {
		tamper string
		want   []string
	}{
		{"iptables -t nat -D SHUNT_INBOUND 4", []string{"ipv4 inbound rule 4", "want tcp port exclude_inbound_ports{9000-9010} -> pass", "found rule 5"}},
		{"iptables -t nat -D SHUNT_INBOUND 5", []string{"ipv4 inbound rule 5", "found no rule"}},
		{"iptables -t nat -I SHUNT_OUTBOUND 1 -p tcp -j RETURN", []string{"ipv4 outbound rule 1", "not ours"}},
		{"iptables -t nat -A SHUNT_INBOUND -p tcp -j RETURN", []string{"ipv4 inbound behind rule 5", "want no rule", "not ours"}},
		{"iptables -t nat -R SHUNT_INBOUND 5 -p tcp -m comment --comment everything -j REDIRECT --to-ports 1", []string{"ipv4 inbound rule 5", "not ours"}},
		{"ip6tables -t nat -F SHUNT_OUTBOUND", []string{"ipv6 outbound rule 1", "found no rule"}},
		{"iptables -t nat -F PREROUTING", []string{"ipv4 nat PREROUTING", "generation", "no jump to SHUNT_INBOUND"}},
		{"iptables -t nat -A PREROUTING -j SHUNT_INBOUND", []string{"ipv4 nat PREROUTING", " and "}},
		{"iptables -t nat -N SHUNT_MORE", []string{"ipv4 chains", "SHUNT_MORE"}},
	}
	for _, tt := range tests {
		t.Run(tt.tamper, func(t *testing.T) {
			variants(t, func(t *testing.T, p pod) { p.tampered(t, c, tt.tamper, tt.want...) })
		})
	}
}

// TestCheckNamesAForeignJump into a chain that does not ask who listens: where
// one does, the kernel refuses such a jump.
func TestCheckNamesAForeignJump(t *testing.T) {
	c := captureAll()
	c.ClosedPorts = redirect.ClosedCapture
	variants(t, func(t *testing.T, p pod) {
		p.tampered(t, c, "iptables -t nat -A OUTPUT -j SHUNT_INBOUND", "ipv4 nat OUTPUT", "want no such jump")
	})
}

// tampered has check name what a command changed, and apply repair it.
func (p pod) tampered(t *testing.T, c redirect.Config, command string, want ...string) {
	t.Helper()
	p.apply(t, c)
	p.ipt(t, command)
	err := p.check(t, c)
	if !isDifference(err) {
		t.Fatalf("check: %v, want a difference", err)
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("check says %q, want it to say %q", err, part)
		}
	}
	if !p.apply(t, c) {
		t.Error("apply: no change, want a repair")
	}
	if err := p.check(t, c); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// TestVariantIsTheNamespaces uses the legacy variant where the namespace holds
// rules of it, and nf_tables otherwise.
func TestVariantIsTheNamespaces(t *testing.T) {
	c := captureAll()
	fresh := pod{testnet.New(t), iptables.Auto}
	fresh.apply(t, c)
	if got := (pod{fresh.Namespace, iptables.NFT}).rules(t); !strings.Contains(got, "SHUNT_INBOUND") {
		t.Errorf("in a fresh namespace, nf_tables holds:\n%s", got)
	}
	legacy := pod{testnet.New(t), iptables.Legacy}
	legacy.ipt(t, "iptables -t filter -A INPUT -p tcp --dport 22 -j ACCEPT")
	auto := pod{legacy.Namespace, iptables.Auto}
	auto.apply(t, c)
	if got := legacy.rules(t); !strings.Contains(got, "SHUNT_INBOUND") {
		t.Errorf("in a namespace with legacy rules, legacy holds:\n%s", got)
	}
	if err := auto.check(t, c); err != nil {
		t.Error(err)
	}
}

// TestOtherVariantIsCleaned moves from one variant to the other.
func TestOtherVariantIsCleaned(t *testing.T) {
	c := captureAll()
	ns := testnet.New(t)
	nft, legacy, auto := pod{ns, iptables.NFT}, pod{ns, iptables.Legacy}, pod{ns, iptables.Auto}
	legacy.apply(t, c)
	nft.apply(t, c)
	if got := legacy.rules(t); got != "" {
		t.Errorf("left in the legacy variant:\n%s", got)
	}
	legacy.ipt(t, "ip6tables -t nat -N SHUNT_INBOUND")
	for _, p := range []pod{nft, auto} {
		if err := p.check(t, c); !isDifference(err) || !strings.Contains(err.Error(), " tables: want no chain of ours") {
			t.Errorf("check with chains in both variants: %v, want a difference", err)
		}
	}
	auto.apply(t, c)
	if err := auto.check(t, c); err != nil {
		t.Error(err)
	}
	auto.remove(t)
	if got := nft.rules(t) + legacy.rules(t); got != "" {
		t.Errorf("after remove: %s", got)
	}
}

// TestHolds tells cheaply whether it is worth to look.
func TestHolds(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		holds := func() (holds bool) {
			p.Do(t, func() (err error) {
				holds, err = iptables.Backend{}.Holds(t.Context())
				return err
			})
			return holds
		}
		p.ipt(t, "iptables -t nat -S") // makes the table
		if holds() {
			t.Error("an untouched namespace holds something")
		}
		p.apply(t, captureAll())
		if !holds() {
			t.Error("after apply, the namespace holds nothing")
		}
	})
}

func TestIPv6SwitchedOff(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		p.Sysctl(t, "ipv6/conf/all/disable_ipv6", "1")
		c := captureAll()
		p.apply(t, c)
		if err := p.check(t, c); err != nil {
			t.Error(err)
		}
		p.Sysctl(t, "ipv6/conf/all/disable_ipv6", "0")
		if err := p.check(t, c); !isDifference(err) || !strings.Contains(err.Error(), "::6/128") {
			t.Errorf("check: %v, want the missing address", err)
		}
		p.apply(t, c)
		if err := p.check(t, c); err != nil {
			t.Error(err)
		}
	})
}

// TestAtOnce lets many apply different configs: afterwards one of them holds.
func TestAtOnce(t *testing.T) {
	variants(t, func(t *testing.T, p pod) {
		other := captureAll()
		other.ExcludeInboundPorts = []contract.PortRange{{First: 80, Last: 80}}
		configs := []redirect.Config{captureAll(), other}
		done := make(chan struct{})
		for i := range 8 {
			go func() {
				defer func() { done <- struct{}{} }()
				plan, err := redirect.NewPlan(configs[i%2])
				if err != nil {
					t.Error(err)
					return
				}
				p.Do(t, func() error {
					if _, err := (iptables.Backend{Variant: p.variant}).Apply(t.Context(), plan); err != nil {
						t.Error(err)
					}
					return nil
				})
			}()
		}
		for range 8 {
			<-done
		}
		first, second := p.check(t, configs[0]), p.check(t, configs[1])
		if (first == nil) == (second == nil) {
			t.Errorf("check of one config: %v; of the other: %v; want one to hold", first, second)
		}
	})
}
