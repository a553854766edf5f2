// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/balance"
)

// publish builds the next snapshot out of what changed, and lists the addresses
// whose picture it touched. Nothing that did not change is copied, but for the
// shards of the two tables.
func (s *state) publish() (*Snapshot, []netip.Addr) {
	touched := s.gone
	addrs := make(map[netip.Addr]*address, len(s.dirtyDemands))
	for d := range s.dirtyDemands {
		touched = append(touched, d.addr)
		if a := s.view(d); a != nil {
			addrs[d.addr] = a
		}
	}
	clusters := make(map[string]*Cluster, len(s.dirtyClusters))
	var removed []string
	for name := range s.dirtyClusters {
		if c := s.newCluster(name); c != nil {
			clusters[name] = c
		} else {
			removed = append(removed, name)
		}
	}
	s.snapshot = &Snapshot{
		addresses: s.snapshot.addresses.with(addrs, s.gone...),
		clusters:  s.snapshot.clusters.with(clusters, removed...),
	}
	s.gone = nil
	clear(s.dirtyDemands)
	clear(s.dirtyClusters)
	return s.snapshot, touched
}

// view is a demand as the data path sees it; nil while nothing is known of it.
func (s *state) view(d *demand) *address {
	r := s.resources[kindAddress][contract.AddressName(d.addr)]
	if r.presence == unknown {
		return nil
	}
	out := &address{used: d.used}
	if r.address == nil {
		return out
	}
	out.workload = r.address.workload
	for port := range r.address.ports {
		p := d.ports[port]
		switch {
		case p != nil && p.service != nil:
			if out.ports == nil {
				out.ports = map[uint16]*Service{}
			}
			out.ports[port] = p.service
		case p != nil && p.deps != nil: // whole, and no service
		default:
			if out.pending == nil {
				out.pending = map[uint16]bool{}
			}
			out.pending[port] = true
		}
	}
	return out
}

// newCluster returns nil when the cluster or its endpoints are not there.
func (s *state) newCluster(name string) *Cluster {
	c, e := s.resources[kindCluster][name], s.resources[kindEndpoints][name]
	if c == nil || e == nil || c.presence != present || e.presence != present {
		return nil
	}
	return &Cluster{
		Name:      name,
		Picker:    balance.NewP2C(usable(e.members), nil),
		endpoints: e.members,
		used:      c.used,
	}
}

// usable lists what a picker may choose from: endpoints that are draining only
// when there is no other.
func usable(members []endpoint) []*balance.Endpoint {
	var healthy, draining []*balance.Endpoint
	for _, m := range members {
		if m.draining {
			draining = append(draining, m.Endpoint)
		} else {
			healthy = append(healthy, m.Endpoint)
		}
	}
	if len(healthy) == 0 {
		return draining
	}
	return healthy
}

// registry has one Endpoint for each address, in however many clusters it is,
// so that its load is known to all of them and survives every update.
type registry map[netip.AddrPort]*registered

type registered struct {
	endpoint *balance.Endpoint
	uses     int
}

func (r registry) acquire(addr netip.AddrPort) *balance.Endpoint {
	e := r[addr]
	if e == nil {
		e = &registered{endpoint: balance.NewEndpoint(addr)}
		r[addr] = e
	}
	e.uses++
	return e.endpoint
}

func (r registry) release(members []endpoint) {
	for _, m := range members {
		e := r[m.Addr()]
		if e.uses--; e.uses == 0 {
			delete(r, m.Addr())
		}
	}
}
