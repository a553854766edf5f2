// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// host is one with an address in each family.
type host uint8

const (
	podHost host = iota
	nodeHost
	farHost    // the node too, in another network
	secondPod  // the pod's second interface
	secondNode // the node's end of it
	service    // leads to the pod
	otherService
	localhost
	elsewhere  // the pod too, and nobody calls it
	dialSource // from which the proxy dials the application
)

func (h host) v4() netip.Addr { return netip.MustParseAddr(h.texts()[0]) }
func (h host) v6() netip.Addr { return netip.MustParseAddr(h.texts()[1]) }

func (h host) texts() [2]string {
	return [...][2]string{
		podHost:      {testnet.PodV4, testnet.PodV6},
		nodeHost:     {testnet.NodeV4, testnet.NodeV6},
		farHost:      {testnet.FarV4, testnet.FarV6},
		secondPod:    {"10.67.0.2", "fd67::2"},
		secondNode:   {"10.67.0.1", "fd67::1"},
		service:      {testnet.ServiceV4, testnet.ServiceV6},
		otherService: {testnet.OtherServiceV4, testnet.OtherServiceV6},
		localhost:    {"127.0.0.1", "::1"},
		elsewhere:    {"10.68.0.2", "fd68::2"},
		dialSource:   {contract.InboundDialSourceV4, contract.InboundDialSourceV6},
	}[h]
}
