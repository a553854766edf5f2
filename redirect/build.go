// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
)

// interfaceLoopback is the loopback interface's name, which Linux fixes.
const interfaceLoopback = "lo"

// NewPlan decides. The error is a *ConfigError where the Config is at fault.
//
// The order of the outbound rules is istio-iptables' precedence, behind what is
// open already: excluded interfaces, excluded ports, the proxy's dial source, calling oneself, the
// proxy's owner, owner groups, loopback, excluded CIDRs, included ports,
// included CIDRs. It differs in three points: "anything else over the loopback
// interface" is one rule after all of the proxy's self-calls and not one before
// each further owner, where it would hide that owner's self-calls; excluded
// inbound ports count also where -b lists ports; and inbound packets for
// 127.0.0.0/8 are not captured.
func NewPlan(c Config) (Plan, error) {
	if err := c.Validate(); err != nil {
		return Plan{}, err
	}
	var p Plan
	for _, f := range c.families() {
		source, err := f.DialSource()
		if err != nil {
			return Plan{}, fmt.Errorf("find dial source: %w", err)
		}
		fp := FamilyPlan{Family: f}
		if f == IPv6 {
			fp.LoopbackAddr = source
		}
		if c.DropInvalid {
			fp.Chains = append(fp.Chains, Chain{Arriving, arriving()})
		}
		if rules := inbound(c, f); rules != nil {
			fp.Chains = append(fp.Chains, Chain{Inbound, rules})
		}
		fp.Chains = append(fp.Chains, Chain{Outbound, outbound(c, f, source)})
		p.Families = append(p.Families, fp)
	}
	p.MayCaptureClosed = c.ClosedPorts == ClosedAuto && p.asksWhoListens()
	return p, nil
}

func (c Config) families() []Family {
	var out []Family
	if c.IPv4 {
		out = append(out, IPv4)
	}
	if c.IPv6 {
		out = append(out, IPv6)
	}
	return out
}

// arriving spares the application a reset: the kernel answers a packet that
// connection tracking can't place, and that NAT therefore leaves as it is, with
// one, which ends the sender's connection.
func arriving() []Rule {
	return []Rule{{Match: Match{Invalid: true}, Action: Drop, Why: "connection tracking can't place it"}}
}

// inbound returns nil where nothing that arrives is captured.
func inbound(c Config, f Family) []Rule {
	captures := inboundCaptures(c, f)
	if captures == nil {
		return nil
	}
	var r rules
	r.passOpened()
	// NAT comes before the kernel's own check for such packets: captured, they
	// would reach a port that the application keeps to itself, by way of the
	// proxy. Left alone, they are dropped.
	r.pass("loopback from outside is for the kernel to drop", Match{Dest: loopbackSet(f)})
	r.passInterfaces(c)
	r.pass("the tunnel is never captured",
		Match{DestPorts: portSet("tunnel_port", []contract.PortRange{{First: c.TunnelPort, Last: c.TunnelPort}})})
	if set := portSet("exclude_inbound_ports", c.ExcludeInboundPorts); set != nil {
		r.pass("excluded inbound ports", Match{DestPorts: set})
	}
	if set := addrSet("exclude_inbound_cidrs", c.ExcludeInboundCIDRs, f); set != nil {
		r.pass("excluded inbound CIDRs", Match{Sources: set})
	}
	return append(r, captures...)
}

func inboundCaptures(c Config, f Family) []Rule {
	var r rules
	listened := c.ClosedPorts != ClosedCapture
	if c.IncludeInboundPorts.All || c.IncludeInboundCIDRs.All {
		r.capture(c.InboundPort, "everything else that arrives", Match{Listened: listened})
		return r
	}
	if set := portSet("include_inbound_ports", c.IncludeInboundPorts.Ranges); set != nil {
		r.capture(c.InboundPort, "included inbound ports", Match{DestPorts: set, Listened: listened})
	}
	if set := addrSet("include_inbound_cidrs", c.IncludeInboundCIDRs.Prefixes, f); set != nil {
		r.capture(c.InboundPort, "included inbound CIDRs", Match{Sources: set, Listened: listened})
	}
	return r
}

func outbound(c Config, f Family, source netip.Prefix) []Rule {
	var r rules
	r.passOpened()
	r.passInterfaces(c)
	if set := portSet("exclude_outbound_ports", c.ExcludeOutboundPorts); set != nil {
		r.pass("excluded outbound ports", Match{DestPorts: set})
	}
	r.pass("the proxy dials the application", Match{Interface: interfaceLoopback, Source: source})
	for _, owner := range owners(c) {
		owner.Interface, owner.NotDest, owner.NotDestPort = interfaceLoopback, f.Loopback(), c.TunnelPort
		r.capture(c.InboundPort, "the pod calls itself through the proxy", owner)
	}
	r.pass("application to application inside the pod", Match{Interface: interfaceLoopback})
	for _, owner := range owners(c) {
		r.pass("the proxy's own connections", owner)
	}
	if len(c.OwnerGroups) > 0 {
		r.pass("owner groups that are not included", Match{NotGIDs: slices.Compact(slices.Sorted(slices.Values(c.OwnerGroups)))})
	}
	for _, gid := range c.ExcludeOwnerGroups {
		r.pass("excluded owner groups", Match{GID: &gid})
	}
	r.pass("loopback is never captured", Match{Dest: loopbackSet(f)})
	if set := addrSet("exclude_outbound_cidrs", c.ExcludeOutboundCIDRs, f); set != nil {
		r.pass("excluded outbound CIDRs", Match{Dest: set})
	}
	return append(r, outboundCaptures(c, f)...)
}

func outboundCaptures(c Config, f Family) []Rule {
	var r rules
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
		out = append(out, Match{UID: &uid})
	}
	for _, gid := range c.ProxyGIDs {
		out = append(out, Match{GID: &gid})
	}
	return out
}

type rules []Rule

func (r *rules) pass(why string, m Match) {
	*r = append(*r, Rule{Match: m, Action: Pass, Why: why})
}

// passOpened keeps connections that were open before the rules were: nobody has
// tracked them, so that their next packet looks like the first of a new one,
// and NAT in mid-stream would break them.
func (r *rules) passOpened() {
	r.pass("connections that were open before", Match{Opened: true})
}

func (r *rules) passInterfaces(c Config) {
	for _, name := range c.ExcludeInterfaces {
		r.pass("excluded interfaces", Match{Interface: name})
	}
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
