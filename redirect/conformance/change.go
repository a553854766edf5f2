// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"

	"github.com/shuntmesh/shunt/redirect"
)

// Change is one Config that replaces another, or the first one. Its settings
// have the same aims, so that each connection has a verdict under both.
type Change struct {
	Name     string
	Old, New *Setting
	// While is how the application listens meanwhile.
	While Listening
}

// Changes returns those that faults are tried on. A change of lists alone and
// one of rules may take different ways through a backend.
func Changes() []Change {
	newLists := excluding("new exclusions", listedOutbound)
	off := *newLists
	off.Name, off.Off = "untouched", true
	return []Change{
		{"first", &off, newLists, Everywhere},
		{"other exclusions", excluding("old exclusions", listedInbound), newLists, Everywhere},
		{"other exclusions and rules", excluding("old exclusions", listedInbound), withOtherRules(excluding("new exclusions", listedOutbound)), Everywhere},
		{"other inclusions", including("old inclusions", listedInbound), including("new inclusions", listedOutbound), Everywhere},
		{"other inclusions and rules", including("old inclusions", listedInbound), withOtherRules(including("new inclusions", listedOutbound)), Everywhere},
		{"closed ports", excluding("old exclusions", listedInbound).CapturingClosed(), excluding("new exclusions", listedOutbound), Nowhere},
	}
}

// alwaysListed is a port in the lists of both sides of a change.
const alwaysListed = 8083

// excluding captures all but a port in both directions, and but the other
// network if the port is that of the old side.
func excluding(name string, port uint16) *Setting {
	c := captureAll()
	c.ExcludeInboundPorts = append(ports(port, port), ports(alwaysListed, alwaysListed)...)
	c.ExcludeOutboundPorts = c.ExcludeInboundPorts
	c.ExcludeOutboundCIDRs = nobody()
	if port == listedInbound {
		c.ExcludeOutboundCIDRs = farPrefixes()
	}
	before, after := port != listedInbound, port != listedOutbound
	return newSetting(name, c, []Aim{
		{"captured before and after", Ordinary, Near, true, true, true},
		{"excluded before and after", alwaysListed, Near, false, false, false},
		{"excluded before", listedInbound, Near, before, before, before},
		{"excluded after", listedOutbound, Near, after, after, after},
		{"network excluded before", Ordinary, Far, true, before, true},
	})
}

// including captures a port in both directions, and the other network if the
// port is that of the old side.
func including(name string, port uint16) *Setting {
	c := captureNothing()
	c.IncludeInboundPorts.Ranges = append(ports(port, port), ports(alwaysListed, alwaysListed)...)
	c.IncludeOutboundPorts = c.IncludeInboundPorts.Ranges
	c.IncludeOutboundCIDRs.Prefixes = nobody()
	if port == listedInbound {
		c.IncludeOutboundCIDRs.Prefixes = farPrefixes()
	}
	before, after := port == listedInbound, port == listedOutbound
	return newSetting(name, c, []Aim{
		{"left alone before and after", Ordinary, Near, false, false, true},
		{"captured before and after", alwaysListed, Near, true, true, true},
		{"captured before", listedInbound, Near, before, before, true},
		{"captured after", listedOutbound, Near, after, after, true},
		{"network captured before", Ordinary, Far, false, before, true},
	})
}

// nobody holds no host's address (RFC 5737, RFC 3849): with it, both sides of
// a change have a list of networks, and may have the same rules.
func nobody() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
}

// withOtherRules changes more than lists, and no verdict but that of a group.
func withOtherRules(s *Setting) *Setting {
	s.Config.ExcludeInterfaces = []string{secondInterface}
	s.Config.DropInvalid = true
	s.Config.ExcludeOwnerGroups = nil
	s.Exempt = nil
	return s
}

// CapturingClosed is the setting with closed ports captured: what versions before
// had no choice but to do, and who can't tell who listens has none still.
func (s *Setting) CapturingClosed() *Setting {
	out := *s
	out.Config.ClosedPorts = redirect.ClosedCapture
	return &out
}

// Probe is one connection with its verdicts on both sides of a change.
type Probe struct{ Old, New Cell }

// Probes returns a few for each aim, of each kind that rules decide about.
func (c Change) Probes() []Probe {
	var out []Probe
	for i := range c.New.Aims {
		for _, family := range []Family{IPv4, IPv6} {
			for _, way := range []struct {
				Sender
				Direction
			}{{Application, Inbound}, {Application, Outbound}, {OwnerGroup, Outbound}, {ProxyUser, Outbound}, {ProxyUser, OwnIP}} {
				cell := Cell{Sender: way.Sender, Direction: way.Direction, Family: family, Listening: c.While}
				p := Probe{cell, cell}
				p.Old.Setting, p.Old.Aim = c.Old, c.Old.Aims[i]
				p.New.Setting, p.New.Aim = c.New, c.New.Aims[i]
				if Excluded(p.New) == nil {
					out = append(out, p)
				}
			}
		}
	}
	return out
}
