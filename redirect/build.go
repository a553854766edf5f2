// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"fmt"
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
)

// NewPlan decides. The error is a *ConfigError where the Config is at fault.
//
// The order of the outbound rules is istio-iptables' precedence: excluded
// ports, the proxy's dial source, calling oneself, the proxy's owner, loopback,
// excluded CIDRs, included ports, included CIDRs. It differs in two points:
// "anything else over the loopback interface" is one rule after all of the
// proxy's self-calls and not one before each further owner, where it would
// hide that owner's self-calls; and inbound packets for 127.0.0.0/8 are not
// captured.
func NewPlan(c Config) (Plan, error) {
	if err := c.Validate(); err != nil {
		return Plan{}, err
	}
	families := []Family{IPv4}
	if c.IPv6 {
		families = append(families, IPv6)
	}
	var p Plan
	for _, f := range families {
		source, err := f.DialSource()
		if err != nil {
			return Plan{}, fmt.Errorf("find dial source: %w", err)
		}
		fp := FamilyPlan{Family: f}
		if f == IPv6 {
			fp.LoopbackAddr = source
		}
		if c.IncludeInboundPorts.All || len(c.IncludeInboundPorts.Ranges) > 0 {
			fp.Chains = append(fp.Chains, Chain{Inbound, inbound(c, f)})
		}
		fp.Chains = append(fp.Chains, Chain{Outbound, outbound(c, f, source)})
		p.Families = append(p.Families, fp)
	}
	return p, nil
}

func inbound(c Config, f Family) []Rule {
	var r rules
	// NAT comes before the kernel's own check for such packets: captured, they
	// would reach a port that the application keeps to itself, by way of the
	// proxy. Left alone, they are dropped.
	r.pass("loopback from outside is for the kernel to drop", Match{Dest: loopbackSet(f)})
	r.pass("the tunnel is never captured",
		Match{DestPorts: portSet("tunnel_port", []contract.PortRange{{First: c.TunnelPort, Last: c.TunnelPort}})})
	if set := portSet("exclude_inbound_ports", c.ExcludeInboundPorts); set != nil {
		r.pass("excluded inbound ports", Match{DestPorts: set})
	}
	if c.IncludeInboundPorts.All {
		r.capture(c.InboundPort, "everything else that arrives", Match{})
	} else {
		r.capture(c.InboundPort, "included inbound ports",
			Match{DestPorts: portSet("include_inbound_ports", c.IncludeInboundPorts.Ranges)})
	}
	return r
}

func outbound(c Config, f Family, source netip.Prefix) []Rule {
	var r rules
	if set := portSet("exclude_outbound_ports", c.ExcludeOutboundPorts); set != nil {
		r.pass("excluded outbound ports", Match{DestPorts: set})
	}
	r.pass("the proxy dials the application", Match{OverLoopback: true, Source: source})
	for _, owner := range owners(c) {
		owner.OverLoopback, owner.NotDest, owner.NotDestPort = true, f.Loopback(), c.TunnelPort
		r.capture(c.InboundPort, "the pod calls itself through the proxy", owner)
	}
	r.pass("application to application inside the pod", Match{OverLoopback: true})
	for _, owner := range owners(c) {
		r.pass("the proxy's own connections", owner)
	}
	r.pass("loopback is never captured", Match{Dest: loopbackSet(f)})
	if set := addrSet("exclude_outbound_cidrs", c.ExcludeOutboundCIDRs, f); set != nil {
		r.pass("excluded outbound CIDRs", Match{Dest: set})
	}
	if set := portSet("include_outbound_ports", c.IncludeOutboundPorts); set != nil {
		r.capture(c.OutboundPort, "included outbound ports", Match{DestPorts: set})
	}
	if c.IncludeOutboundCIDRs.All {
		r.capture(c.OutboundPort, "everything else that leaves", Match{})
	} else if set := addrSet("include_outbound_cidrs", c.IncludeOutboundCIDRs.Prefixes, f); set != nil {
		r.capture(c.OutboundPort, "included outbound CIDRs", Match{Dest: set})
	}
	return r
}

// owners returns one match for each uid and gid of the proxy.
func owners(c Config) []Match {
	var out []Match
	for _, uid := range c.ProxyUIDs {
		out = append(out, Match{UID: uid})
	}
	for _, gid := range c.ProxyGIDs {
		out = append(out, Match{GID: gid})
	}
	return out
}

type rules []Rule

func (r *rules) pass(why string, m Match) {
	*r = append(*r, Rule{Match: m, Action: Pass, Why: why})
}

func (r *rules) capture(port uint16, why string, m Match) {
	*r = append(*r, Rule{Match: m, Action: Capture, Port: port, Why: why})
}

func loopbackSet(f Family) *AddrSet {
	return &AddrSet{Name: "loopback", Prefixes: []netip.Prefix{f.Loopback()}}
}

// portSet returns nil for no ports, since a rule with an empty set matches nothing.
func portSet(name string, ranges []contract.PortRange) *PortSet {
	merged := mergePorts(ranges)
	if len(merged) == 0 {
		return nil
	}
	return &PortSet{Name: name, Ranges: merged}
}

func addrSet(name string, prefixes []netip.Prefix, f Family) *AddrSet {
	merged := mergePrefixes(prefixes, f)
	if len(merged) == 0 {
		return nil
	}
	return &AddrSet{Name: name, Prefixes: merged}
}
