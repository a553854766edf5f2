// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Flow is the first packet of a new connection, or a datagram, as a rule sees it.
type Flow struct {
	Direction Direction      // Inbound or Outbound
	UDP       bool           // a datagram; otherwise TCP
	Dest      netip.AddrPort // an IPv4 address mapped into IPv6 is the IPv4 one
	Source    netip.Addr     // invalid where the kernel chooses it, or nobody knows
	// Interface is the one that the packet arrives over or leaves through. What
	// goes to an address of the pod itself leaves through "lo".
	Interface string
	UID, GID  uint32 // owner of the sending socket; nothing when Inbound
	// Closed says that nobody in the pod listens for it; it counts when Inbound.
	Closed bool
}

// Verdict says what happens to a Flow, and which rule decides.
type Verdict struct {
	Family    Family    `json:"family"`
	Direction Direction `json:"direction"`
	Action    Action    `json:"action"`
	Port      uint16    `json:"port,omitzero"` // of the proxy; 0 unless Action is Capture
	Number    int       `json:"rule,omitzero"` // of the rule in its chain, from 1; 0 where none decides
	Rule      *Rule     `json:"match,omitzero"`
	Why       string    `json:"why"`
}

// Explain says what a Config does to a flow. It is pure: what a namespace
// really holds, Backend.Check tells. The error is NewPlan's.
func Explain(c Config, f Flow) (Verdict, error) {
	p, err := NewPlan(c)
	if err != nil {
		return Verdict{}, err
	}
	return p.Explain(f), nil
}

// Explain says what the plan does to a flow.
func (p Plan) Explain(f Flow) Verdict {
	f.Dest = netip.AddrPortFrom(f.Dest.Addr().Unmap(), f.Dest.Port())
	f.Source = f.Source.Unmap()
	v := Verdict{Family: familyOf(f.Dest.Addr()), Direction: f.Direction, Action: Pass}
	if f.UDP {
		v.Why = "only TCP is steered"
		return v
	}
	family := slices.IndexFunc(p.Families, func(fp FamilyPlan) bool { return fp.Family == v.Family })
	if family < 0 {
		v.Why = v.Family.String() + " is not steered"
		return v
	}
	for _, chain := range p.Families[family].Chains {
		if chain.Direction == f.Direction {
			return v.decide(chain, f)
		}
	}
	v.Why = "nothing " + f.Direction.String() + " is captured"
	return v
}

func (v Verdict) decide(chain Chain, f Flow) Verdict {
	for i, r := range chain.Rules {
		if r.Match.holds(f) {
			v.Action, v.Port, v.Number, v.Rule, v.Why = r.Action, r.Port, i+1, &chain.Rules[i], r.Why
			return v
		}
	}
	v.Why = "no rule matches"
	open := f
	open.Closed = false
	if f.Closed && slices.ContainsFunc(chain.Rules, func(r Rule) bool { return r.Match.holds(open) }) {
		v.Why = "nobody listens there, and the kernel refuses"
	}
	return v
}

// String returns such as "capture at 15001: ipv4 outbound rule 8, everything
// else that leaves".
func (v Verdict) String() string {
	action := v.Action.String()
	if v.Action == Capture {
		action = fmt.Sprintf("%v at %d", v.Action, v.Port)
	}
	if v.Number == 0 {
		return fmt.Sprintf("%s: %v %v, %s", action, v.Family, v.Direction, v.Why)
	}
	return fmt.Sprintf("%s: %v %v rule %d, %s", action, v.Family, v.Direction, v.Number, v.Why)
}

// holds reports whether every condition does. No new connection is invalid, and
// none is open yet.
func (m Match) holds(f Flow) bool {
	return !m.Invalid && !m.Opened && (!m.Listened || !f.Closed) &&
		(m.Interface == "" || m.Interface == f.Interface) &&
		(!m.Source.IsValid() || m.Source.Contains(f.Source)) &&
		(m.Sources == nil || m.Sources.contains(f.Source)) &&
		(m.UID == nil || *m.UID == f.UID) &&
		(m.GID == nil || *m.GID == f.GID) &&
		!slices.Contains(m.NotGIDs, f.GID) &&
		(!m.NotDest.IsValid() || !m.NotDest.Contains(f.Dest.Addr())) &&
		(m.NotDestPort == 0 || m.NotDestPort != f.Dest.Port()) &&
		(m.Dest == nil || m.Dest.contains(f.Dest.Addr())) &&
		(m.DestPorts == nil || m.DestPorts.contains(f.Dest.Port()))
}

func (s *AddrSet) contains(a netip.Addr) bool {
	return slices.ContainsFunc(s.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (s *PortSet) contains(port uint16) bool {
	return slices.ContainsFunc(s.Ranges, func(r contract.PortRange) bool { return r.First <= port && port <= r.Last })
}
