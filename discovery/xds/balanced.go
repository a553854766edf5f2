// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/balanceapi"
	"github.com/shuntmesh/shunt/internal/contract"
)

// evenWeight is that of each endpoint: no registry of ours says otherwise.
const evenWeight = 1

// balanced puts what nodes need of the ports that are balanced at connect.
// Services without any have no such resources.
func (b *builder) balanced(e model.ServiceEndpoints) {
	for _, port := range e.Service.Ports {
		if port.AtConnect {
			b.put(contract.TypeBalanced, contract.ClusterName(e.Service.Host, port.Number),
				balancedPort(e, port.Number))
		}
	}
}

// unbalanced removes what a service has no more.
func (b *builder) unbalanced(c model.ServiceChange) {
	kept := map[uint16]bool{}
	if c.New != nil {
		for _, port := range c.New.Ports {
			kept[port.Number] = port.AtConnect
		}
	}
	for _, port := range c.Old.Ports {
		if port.AtConnect && !kept[port.Number] {
			b.removed = append(b.removed, Ref{contract.TypeBalanced, contract.ClusterName(c.Old.Host, port.Number)})
		}
	}
}

func balancedPort(e model.ServiceEndpoints, number uint16) *balanceapi.BalancedPort {
	out := &balanceapi.BalancedPort{Port: uint32(number)}
	for _, ip := range e.Service.VIPs {
		out.Addresses = append(out.Addresses, ip.AsSlice())
	}
	add := func(ap netip.AddrPort, health balanceapi.Health) {
		out.Endpoints = append(out.Endpoints, &balanceapi.Endpoint{
			Address: ap.Addr().AsSlice(), Port: uint32(ap.Port()), Weight: evenWeight, Health: health,
		})
	}
	for _, endpoint := range e.Ports[number] {
		if endpoint.Health == model.Draining {
			add(endpoint.Addr, balanceapi.Health_DRAINING)
		} else {
			add(endpoint.Addr, balanceapi.Health_READY)
		}
	}
	for _, ap := range e.Unready[number] {
		add(ap, balanceapi.Health_UNREADY)
	}
	return out
}
