// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"net/netip"

	"github.com/shuntmesh/shunt/redirect"
)

// Owner is who opens the connections: rules tell sockets by it.
type Owner struct{ UID, GID uint32 }

// Place is somewhere that a connection can be opened to from here.
type Place struct {
	Addr      netip.Addr
	Port      uint16 // where something of ours listens; 0 outside of the pod, where any port will do
	Interface string // through which it is reached
}

// Case is one connection to try, and what the plan says of it.
type Case struct {
	Flow redirect.Flow
	Want redirect.Verdict
	Ours bool // something of ours listens at its destination
}

// maxEntries bounds how much of one set is tried: one member that no earlier
// rule takes is enough.
const maxEntries = 16

// discard is the port outside of the pod that is tried first (RFC 863): whoever
// meets it sees that nothing is meant.
const discard = 9

// Cases returns, for each rule that can decide for a connection of the owner to
// one of the places, the first connection for which it does. What no rule
// decides is a case too. Places that come first are tried first.
func Cases(p redirect.Plan, o Owner, places []Place) []Case {
	var out []Case
	for _, f := range p.Families {
		decided := make(map[int]bool)
		ports := outsidePorts(f)
		for _, place := range places {
			if place.Addr.Is4() != (f.Family == redirect.IPv4) {
				continue
			}
			for _, flow := range flows(f.Family, o, place, ports) {
				v := p.Explain(flow)
				if !decided[v.Number] {
					decided[v.Number] = true
					out = append(out, Case{Flow: flow, Want: v, Ours: place.Port != 0})
				}
			}
		}
	}
	return out
}

// flows are the connections to one place. To the pod's own addresses one more is
// opened from where the proxy dials the application.
func flows(family redirect.Family, o Owner, place Place, ports []uint16) []redirect.Flow {
	flow := redirect.Flow{Direction: redirect.Outbound, Interface: place.Interface, UID: o.UID, GID: o.GID}
	if place.Port == 0 {
		out := make([]redirect.Flow, len(ports))
		for i, port := range ports {
			out[i] = flow
			out[i].Dest = netip.AddrPortFrom(place.Addr, port)
		}
		return out
	}
	flow.Dest = netip.AddrPortFrom(place.Addr, place.Port)
	fromSource := flow
	if source, err := family.DialSource(); err == nil {
		fromSource.Source = source.Addr()
	}
	return []redirect.Flow{flow, fromSource}
}

// outsidePorts begin with one that lists seldom hold, and have some of each
// list, and of what lies behind.
func outsidePorts(f redirect.FamilyPlan) []uint16 {
	ports := []uint16{discard}
	for _, m := range matches(f) {
		if m.DestPorts == nil {
			continue
		}
		for _, r := range m.DestPorts.Ranges[:min(maxEntries, len(m.DestPorts.Ranges))] {
			ports = append(ports, r.First)
			if r.Last < 1<<16-1 {
				ports = append(ports, r.Last+1)
			}
		}
	}
	return ports
}

// listed are addresses of the plan's lists.
func listed(f redirect.FamilyPlan) []netip.Addr {
	var out []netip.Addr
	for _, m := range matches(f) {
		if m.Dest == nil {
			continue
		}
		for _, p := range m.Dest.Prefixes[:min(maxEntries, len(m.Dest.Prefixes))] {
			out = append(out, member(p))
		}
	}
	return out
}

// member is the first address of a prefix that a host may have.
func member(p netip.Prefix) netip.Addr {
	if next := p.Masked().Addr().Next(); p.Contains(next) {
		return next
	}
	return p.Addr()
}

func matches(f redirect.FamilyPlan) []redirect.Match {
	var out []redirect.Match
	for _, c := range f.Chains {
		if c.Direction != redirect.Outbound {
			continue
		}
		for _, r := range c.Rules {
			out = append(out, r.Match)
		}
	}
	return out
}
