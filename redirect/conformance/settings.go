// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// Settings returns all of them.
func Settings() []*Setting {
	return slices.Concat(general(), ownerGroups(), lists())
}

// lists returns the settings that name ports, networks or interfaces.
func lists() []*Setting {
	return []*Setting{
		includedPorts(), includedRanges(), includedCIDRs(), includedCallers(),
		excludedPorts(), excludedRanges(), excludedCIDRs(), excludedCallers(), excludedInterfaces(),
		precedence(),
	}
}

func includedPorts() *Setting {
	c := captureNothing()
	c.IncludeInboundPorts.Ranges, c.IncludeOutboundPorts = ports(listedInbound, listedInbound), ports(listedOutbound, listedOutbound)
	return newSetting("include ports", c, []Aim{
		{"unlisted", Ordinary, Near, false, false, true},
		{"listed inbound", listedInbound, Near, true, false, true},
		{"listed outbound", listedOutbound, Near, false, true, true},
	})
}

func includedRanges() *Setting {
	c := captureNothing()
	c.IncludeInboundPorts.Ranges, c.IncludeOutboundPorts = ports(9000, 9010), ports(9100, 9110)
	return newSetting("include ranges", c, []Aim{
		{"before the inbound range", 8999, Near, false, false, true},
		{"begin of the inbound range", 9000, Near, true, false, true},
		{"end of the inbound range", 9010, Near, true, false, true},
		{"behind the inbound range", 9011, Near, false, false, true},
		{"before the outbound range", 9099, Near, false, false, true},
		{"begin of the outbound range", 9100, Near, false, true, true},
		{"within the outbound range", 9105, Far, false, true, true},
		{"end of the outbound range", 9110, Near, false, true, true},
		{"behind the outbound range", 9111, Near, false, false, true},
	})
}

func includedCIDRs() *Setting {
	c := captureNothing()
	c.IncludeOutboundCIDRs.Prefixes = farPrefixes()
	return newSetting("include CIDRs", c, []Aim{
		{"unlisted", Ordinary, Near, false, false, true},
		{"listed", Ordinary, Far, false, true, true},
	})
}

func includedCallers() *Setting {
	c := captureNothing()
	c.IncludeInboundCIDRs.Prefixes = farPrefixes()
	s := newSetting("include callers' CIDRs", c, []Aim{
		{"unlisted", Ordinary, Near, false, false, true},
		{"listed", Ordinary, Far, true, false, true},
	})
	s.ByCaller = true
	return s
}

func excludedPorts() *Setting {
	c := captureAll()
	c.ExcludeInboundPorts, c.ExcludeOutboundPorts = ports(listedInbound, listedInbound), ports(listedOutbound, listedOutbound)
	return newSetting("exclude ports", c, []Aim{
		{"unlisted", Ordinary, Near, true, true, true},
		{"listed inbound", listedInbound, Near, false, true, true},
		{"listed outbound", listedOutbound, Near, true, false, false},
	})
}

func excludedRanges() *Setting {
	c := captureAll()
	c.ExcludeInboundPorts, c.ExcludeOutboundPorts = ports(9000, 9010), ports(9100, 9110)
	return newSetting("exclude ranges", c, []Aim{
		{"before the inbound range", 8999, Near, true, true, true},
		{"begin of the inbound range", 9000, Near, false, true, true},
		{"within the inbound range", 9005, Far, false, true, true},
		{"end of the inbound range", 9010, Near, false, true, true},
		{"behind the inbound range", 9011, Near, true, true, true},
		{"before the outbound range", 9099, Near, true, true, true},
		{"begin of the outbound range", 9100, Near, true, false, false},
		{"end of the outbound range", 9110, Near, true, false, false},
		{"behind the outbound range", 9111, Near, true, true, true},
	})
}

func excludedCIDRs() *Setting {
	c := captureAll()
	c.ExcludeOutboundCIDRs = farPrefixes()
	return newSetting("exclude CIDRs", c, []Aim{
		{"unlisted", Ordinary, Near, true, true, true},
		{"listed", Ordinary, Far, true, false, true},
	})
}

func excludedCallers() *Setting {
	c := captureAll()
	c.ExcludeInboundCIDRs = farPrefixes()
	s := newSetting("exclude callers' CIDRs", c, []Aim{
		{"unlisted", Ordinary, Near, true, true, true},
		{"listed", Ordinary, Far, false, true, true},
	})
	s.ByCaller = true
	return s
}

func excludedInterfaces() *Setting {
	c := captureAll()
	c.ExcludeInterfaces = []string{"absent0", secondInterface}
	return newSetting("exclude interfaces", c, []Aim{
		{"unlisted", Ordinary, Near, true, true, true},
		{"listed", Ordinary, Second, false, false, true},
	})
}

// precedence lists ports and networks twice. An excluded port beats an excluded
// CIDR, that beats an included port, and that beats an included CIDR.
func precedence() *Setting {
	c := captureNothing()
	c.IncludeInboundPorts.Ranges, c.ExcludeInboundPorts = ports(9000, 9010), ports(9005, 9005)
	c.IncludeOutboundPorts, c.ExcludeOutboundPorts = ports(9100, 9110), ports(9105, 9105)
	c.IncludeOutboundCIDRs.Prefixes = nearPrefixes()
	c.ExcludeOutboundCIDRs = farPrefixes()
	return newSetting("precedence", c, []Aim{
		{"port included and excluded inbound", 9005, Near, false, true, true},
		{"port included inbound", 9006, Near, true, true, true},
		{"port included and excluded outbound, CIDR included", 9105, Near, false, false, false},
		{"port included outbound, CIDR excluded", 9106, Far, false, false, true},
		{"CIDR excluded", Ordinary, Far, false, false, true},
		{"CIDR included", Ordinary, Near, false, true, true},
	})
}

func ports(first, last uint16) []contract.PortRange {
	return []contract.PortRange{{First: first, Last: last}}
}

// nearPrefixes hold the node's address and that of the first service.
func nearPrefixes() []netip.Prefix { return networks(nodeHost, service) }

// farPrefixes hold those of the other network and the other service.
func farPrefixes() []netip.Prefix { return networks(farHost, otherService) }

func networks(hosts ...host) []netip.Prefix {
	var out []netip.Prefix
	for _, h := range hosts {
		out = append(out, netip.PrefixFrom(h.v4(), 24).Masked(), netip.PrefixFrom(h.v6(), 64).Masked())
	}
	return out
}

// captureNothing is the Config of a pod whose connections are left alone.
func captureNothing() redirect.Config {
	c := redirect.DefaultConfig()
	c.ExcludeOwnerGroups = []uint32{ownerGroup}
	return c
}

// captureAll is the Config of an ordinary pod.
func captureAll() redirect.Config {
	c := captureNothing()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	return c
}
