// SPDX-License-Identifier: Apache-2.0

// Package redirect decides which TCP connections of a pod are steered to its
// proxy. It is pure: a Config becomes a Plan, an ordered and neutral list of
// rules, and a Backend (in a subpackage) makes a network namespace match it.
// This package performs no I/O and knows no kernel interface, so that every
// decision can be read, printed and tested as text.
package redirect

import (
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Config says what to steer where. The flags named here are those of
// `redirect apply`; those of one letter are istio-iptables' own.
type Config struct {
	OutboundPort uint16 // -p: captured outbound connections arrive here
	InboundPort  uint16 // -z: captured inbound connections arrive here
	TunnelPort   uint16 // -e: inbound connections to it are never captured

	ProxyUIDs []uint32 // -u: what these users send is the proxy's own
	ProxyGIDs []uint32 // -g: the same for groups

	// OwnerGroups are the groups whose outbound connections may be captured;
	// none means those of every group.
	OwnerGroups        []uint32 // --owner-groups
	ExcludeOwnerGroups []uint32 // --exclude-owner-groups: these never are

	IncludeInboundPorts Ports                // -b: captured whoever calls
	ExcludeInboundPorts []contract.PortRange // -d
	IncludeInboundCIDRs CIDRs                // --include-inbound-cidrs: callers, captured whatever they call
	ExcludeInboundCIDRs []netip.Prefix       // --exclude-inbound-cidrs: callers

	IncludeOutboundPorts []contract.PortRange // -q: captured wherever they go
	ExcludeOutboundPorts []contract.PortRange // -o
	IncludeOutboundCIDRs CIDRs                // -i
	ExcludeOutboundCIDRs []netip.Prefix       // -x

	ExcludeInterfaces []string    // -c: what arrives or leaves over them is left alone
	DropInvalid       bool        // --drop-invalid: drop arriving TCP that connection tracking can't place
	ClosedPorts       ClosedPorts // --closed-ports: what arrives for a port on which nobody listens

	IPv4 bool // --ipv4: steer IPv4
	IPv6 bool // --ipv6: steer IPv6
}

// Ports selects destination ports. All beats Ranges; the zero value selects none.
type Ports struct {
	All    bool
	Ranges []contract.PortRange
}

// CIDRs selects addresses of the other side: callers, or destinations. All beats Prefixes; the zero value
// selects none.
type CIDRs struct {
	All      bool
	Prefixes []netip.Prefix
}

// DefaultConfig returns what apply does without flags: the ports and the uid of
// the contract, both families, the proxy's own ports left alone, and nothing
// captured.
func DefaultConfig() Config {
	return Config{
		OutboundPort:        contract.PortOutbound,
		InboundPort:         contract.PortInbound,
		TunnelPort:          contract.PortTunnel,
		ProxyUIDs:           []uint32{contract.ProxyUID},
		ProxyGIDs:           []uint32{contract.ProxyUID},
		ExcludeInboundPorts: ownPorts(),
		IPv4:                true,
		IPv6:                true,
	}
}

// ownPorts are those at which others call the proxy itself: app probes and
// merged metrics, readiness, its own metrics.
func ownPorts() []contract.PortRange {
	return []contract.PortRange{
		{First: contract.PortAppMetrics, Last: contract.PortReady},
		{First: contract.PortProxyMetrics, Last: contract.PortProxyMetrics},
	}
}
