// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// Listener is a port on which both the pod and the node must serve.
type Listener struct {
	Port  uint16
	InPod string // who serves in the pod
	Proxy bool   // whether that is the proxy, which speaks no MPTCP
}

// Listeners returns one for each port that a connection is sent to or can be
// steered to.
func Listeners() []Listener {
	settings := Settings()
	for _, c := range Changes() {
		settings = append(settings, c.New)
	}
	seen := []uint16{contract.PortOutbound, contract.PortInbound}
	out := []Listener{
		{contract.PortOutbound, AtOutbound, true},
		{contract.PortInbound, AtInbound, true},
	}
	for _, s := range settings {
		for _, a := range s.Aims {
			if !slices.Contains(seen, a.Port) {
				seen = append(seen, a.Port)
				out = append(out, Listener{a.Port, AtApplication, false})
			}
		}
	}
	return out
}

// Interfaces of the pod.
const (
	firstInterface  = "eth0" // testnet.Pair's
	secondInterface = "eth1"
)

// Addresses are where the application listens for TCP.
func (l Listening) Addresses() []netip.Addr {
	both := func(h host) []netip.Addr { return []netip.Addr{h.v4(), h.v6()} }
	switch l {
	case Everywhere:
		return []netip.Addr{netip.IPv6Unspecified()} // and so for IPv4 too
	case LoopbackOnly:
		return both(localhost)
	case OtherAddress:
		return both(elsewhere)
	default:
		return nil
	}
}

// Listenings returns them all.
func Listenings() []Listening {
	out := make([]Listening, listenings)
	for i := range out {
		out[i] = Listening(i)
	}
	return out
}

// SecondLink is the pod's second interface.
func SecondLink() testnet.Link {
	return testnet.Link{
		Name: secondInterface,
		Node: []string{secondNode.texts()[0] + "/24", secondNode.texts()[1] + "/64"},
		Pod:  []string{secondPod.texts()[0] + "/24", secondPod.texts()[1] + "/64"},
	}
}

// Senders returns them all.
func Senders() []Sender {
	out := make([]Sender, senders)
	for i := range out {
		out[i] = Sender(i)
	}
	return out
}

// Credential is what a process of the sender runs as.
func (s Sender) Credential() testnet.Credential {
	return [...]testnet.Credential{
		Application: {UID: applicationID, GID: applicationID},
		Root:        {},
		Member:      {UID: applicationID, GID: applicationID, Groups: []uint32{proxyID, ownerGroup}},
		OwnerGroup:  {UID: applicationID, GID: ownerGroup},
		ProxyUser:   {UID: proxyID, GID: applicationID},
		ProxyGroup:  {UID: applicationID, GID: proxyID},
		ProxySource: {UID: proxyID, GID: proxyID},
	}[s]
}
