// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/proxy/balance"
)

// endpoint is an address of a cluster and what discovery says of its health.
type endpoint struct {
	*balance.Endpoint
	draining bool
	zone     string
}

// Dump is the snapshot in a form that encodes to JSON, sorted, for config_dump.
func (s *Snapshot) Dump() any {
	out := dump{Addresses: []dumpAddress{}, Clusters: []dumpCluster{}}
	for ip, a := range s.addresses.all() {
		out.Addresses = append(out.Addresses, dumpedAddress(ip, a))
	}
	for _, c := range s.clusters.all() {
		out.Clusters = append(out.Clusters, dumpedCluster(c))
	}
	slices.SortFunc(out.Addresses, func(a, b dumpAddress) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(out.Clusters, func(a, b dumpCluster) int { return strings.Compare(a.Name, b.Name) })
	return out
}

type dump struct {
	Addresses []dumpAddress `json:"addresses"`
	Clusters  []dumpCluster `json:"clusters"`
}

type dumpAddress struct {
	Address  netip.Addr    `json:"address"`
	Workload string        `json:"workload,omitempty"`
	Services []dumpService `json:"services,omitempty"`
}

type dumpService struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

type dumpCluster struct {
	Name      string         `json:"name"`
	Endpoints []dumpEndpoint `json:"endpoints"`
}

type dumpEndpoint struct {
	Address  netip.AddrPort `json:"address"`
	Active   int64          `json:"active"`
	Draining bool           `json:"draining,omitempty"`
	Zone     string         `json:"zone,omitempty"`
}

func dumpedAddress(ip netip.Addr, a *address) dumpAddress {
	d := dumpAddress{Address: ip, Workload: a.workload}
	for _, svc := range a.ports {
		d.Services = append(d.Services, dumpService{Host: svc.Host, Port: svc.Port})
	}
	slices.SortFunc(d.Services, func(a, b dumpService) int { return int(a.Port) - int(b.Port) })
	return d
}

func dumpedCluster(c *Cluster) dumpCluster {
	d := dumpCluster{Name: c.Name, Endpoints: []dumpEndpoint{}}
	for _, e := range c.endpoints {
		d.Endpoints = append(d.Endpoints, dumpEndpoint{
			Address: e.Addr(), Active: e.Active(), Draining: e.draining, Zone: e.zone,
		})
	}
	return d
}
