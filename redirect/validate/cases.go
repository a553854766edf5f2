// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"net/netip"
	"slices"

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

// nowhere reports whether the case is to arrive at none of our listeners.
func (c Case) nowhere() bool { return c.Want.Action == redirect.Pass && !c.Ours }

// maxEntries bounds how much of one set is tried: one member that no earlier
// rule takes is enough.
const maxEntries = 16

// discard is the port outside of the pod that is tried first (RFC 863): whoever
// meets it sees that nothing is meant.
const discard = 9

// Cases returns, for each rule that can decide for a connection of the owner to
// one of the places, a connection for which it does: the first that would go
// another way without the rule, or else the first. What no rule decides is a case
// too. Places that come first are tried first.
func Cases(p redirect.Plan, o Owner, places []Place) []Case {
	var out []Case
	for _, f := range p.Families {
		out = append(out, familyCases(p, f, o, places)...)
	}
	return out
}

func familyCases(p redirect.Plan, f redirect.FamilyPlan, o Owner, places []Place) []Case {
	var out []Case
	index := make(map[int]int) // of a rule's case, by the rule's number
	telling := make(map[int]bool)
	ports := outsidePorts(f)
	for _, place := range places {
		if place.Addr.Is4() != (f.Family == redirect.IPv4) {
			continue
		}
		for _, flow := range flows(f.Family, o, place, ports) {
			v := p.Explain(flow)
			if telling[v.Number] {
				continue
			}
			c := Case{Flow: flow, Want: v, Ours: place.Port != 0}
			telling[v.Number] = tells(f, c)
			i, known := index[v.Number]
			switch {
			case !known:
				index[v.Number] = len(out)
				out = append(out, c)
			case telling[v.Number]:
				out[i] = c
			}
		}
	}
	return out
}

// tells reports whether the case would go another way without its rule, and those
// with the same reason: the proxy is known by its uid and its gid.
func tells(f redirect.FamilyPlan, c Case) bool {
	if c.Want.Number == 0 {
		return true
	}
	f.Chains = slices.Clone(f.Chains)
	for i, chain := range f.Chains {
		if chain.Direction == redirect.Outbound {
			f.Chains[i].Rules = slices.DeleteFunc(slices.Clone(chain.Rules), func(r redirect.Rule) bool { return r.Why == c.Want.Why })
		}
	}
	v := redirect.Plan{Families: []redirect.FamilyPlan{f}}.Explain(c.Flow)
	return v.Action != c.Want.Action || v.Port != c.Want.Port
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
