// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Plan is what a network namespace must do with TCP. Whatever is no TCP is
// untouched by every backend.
type Plan struct {
	Families []FamilyPlan `json:"families"` // IPv4 first
	// MayCaptureClosed says that CapturingClosed will do where a backend can't
	// tell who listens.
	MayCaptureClosed bool `json:"mayCaptureClosed,omitzero"`
}

// FamilyPlan is the part of a Plan for one IP version.
type FamilyPlan struct {
	Family Family `json:"family"`
	// LoopbackAddr must exist on the loopback interface, since the proxy dials
	// the application from it. It is invalid for IPv4, where all of 127/8 does.
	LoopbackAddr netip.Prefix `json:"loopbackAddr,omitzero"`
	Chains       []Chain      `json:"chains"`
}

// Chain is the ordered list of rules for one direction: the first rule that
// matches decides, and what none matches is left alone.
type Chain struct {
	Direction Direction `json:"direction"`
	Rules     []Rule    `json:"rules"`
}

// Rule is one decision.
type Rule struct {
	Match  Match  `json:"match,omitzero"`
	Action Action `json:"action"`
	Port   uint16 `json:"port,omitzero"` // of the proxy; 0 unless Action is Capture
	Why    string `json:"why"`           // in words; a backend stores it beside the rule where it can
}

// Match holds the conditions of a rule, all of which must hold. The zero value
// matches all TCP. At most one condition of a rule is a set, since iptables
// needs a line for each of a set's entries.
type Match struct {
	Invalid     bool         `json:"invalid,omitzero"`     // connection tracking can't place the packet
	Opened      bool         `json:"opened,omitzero"`      // the packet doesn't open a connection: no SYN, or an ACK (RFC 9293 section 3.5)
	Interface   string       `json:"interface,omitzero"`   // arrives over it, or leaves through it, unless ""
	Source      netip.Prefix `json:"source,omitzero"`      // source address, unless invalid
	UID         *uint32      `json:"uid,omitzero"`         // owner of the sending socket, unless nil
	GID         *uint32      `json:"gid,omitzero"`         // group of the sending socket, unless nil
	NotGIDs     []uint32     `json:"notGids,omitzero"`     // group of the sending socket is none of them
	NotDest     netip.Prefix `json:"notDest,omitzero"`     // destination outside of it, unless invalid
	NotDestPort uint16       `json:"notDestPort,omitzero"` // destination port other than it, unless 0
	Sources     *AddrSet     `json:"sources,omitzero"`     // source in the set, unless nil
	Dest        *AddrSet     `json:"dest,omitzero"`        // destination in the set, unless nil
	DestPorts   *PortSet     `json:"destPorts,omitzero"`   // destination port in the set, unless nil
	Listened    bool         `json:"listened,omitzero"`    // a socket of the pod would take the packet: inbound alone
}

// PortSet is a named, sorted set of ports without overlaps. The name tells
// what the set is for; within a family, equal names mean equal sets.
type PortSet struct {
	Name   string
	Ranges []contract.PortRange
}

// AddrSet is a named, sorted set of prefixes without overlaps.
type AddrSet struct {
	Name     string         `json:"name"`
	Prefixes []netip.Prefix `json:"prefixes"`
}

// Family is an IP version.
type Family uint8

// The families of a Plan.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "ipv4" or "ipv6".
func (f Family) String() string {
	if f == IPv4 {
		return "ipv4"
	}
	return "ipv6"
}

// Loopback returns the prefix whose destinations are never captured.
func (f Family) Loopback() netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	}
	return netip.PrefixFrom(netip.IPv6Loopback(), 128)
}

// DialSource returns the address from which the proxy dials the application.
func (f Family) DialSource() (netip.Prefix, error) {
	text := contract.InboundDialSourceV4
	if f == IPv6 {
		text = contract.InboundDialSourceV6
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}

// Direction is the way of a connection as the pod sees it.
type Direction uint8

// The directions of a Plan. A connection inside the pod is Outbound alone: its
// fate is settled before it arrives.
const (
	Inbound  Direction = iota + 1 // a connection that arrives at the pod
	Outbound                      // a connection that is opened in the pod
	Arriving                      // every packet that arrives, ahead of Inbound
)

// String returns "inbound", "outbound" or "arriving".
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	default:
		return "arriving"
	}
}

// Action is what happens to what a rule matches.
type Action uint8

// The actions of a Rule.
const (
	Pass    Action = iota + 1 // leave it alone, and look at no further rule
	Capture                   // hand it to the proxy's port
	Drop                      // throw the packet away
)

// String returns "pass", "capture" or "drop".
func (a Action) String() string {
	switch a {
	case Pass:
		return "pass"
	case Capture:
		return "capture"
	default:
		return "drop"
	}
}
