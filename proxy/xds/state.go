// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"slices"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/route"
)

// kind is a type of resource.
type kind uint8

const (
	kindAddress kind = iota
	kindRoute
	kindCluster
	kindEndpoints
	kinds // how many there are
)

func (k kind) typeURL() string {
	return [kinds]string{contract.TypeAddress, contract.TypeRoute, contract.TypeCluster, contract.TypeEndpoints}[k]
}

func kindOf(typeURL string) (kind, bool) {
	for k := range kinds {
		if k.typeURL() == typeURL {
			return k, true
		}
	}
	return 0, false
}

// ref names one resource.
type ref struct {
	kind kind
	name string
}

// presence is what discovery said of a resource.
type presence uint8

const (
	unknown presence = iota // nothing yet
	absent                  // it does not exist
	present
)

// resource is one subscription and what came of it. The last good value is
// kept until a better one comes or the resource is removed.
type resource struct {
	users    []*demand // who needs it; when there is none we unsubscribe
	presence presence
	version  string

	// One of these, by kind, when present.
	address *addressValue
	routes  *routesValue
	cluster *clusterValue
	members []endpoint

	used *mark // of clusters: set by the data path
}

// demand is one IP address that the data path asked for, and the resources
// that follow from it.
type demand struct {
	addr     netip.Addr
	ports    map[uint16]*demandPort // those asked for
	deps     []ref
	used     *mark
	lastUsed time.Time
}

// demandPort is the last whole picture of a service's port.
type demandPort struct {
	service *Service
	deps    []ref
}

// maxPendingPorts bounds the ports that are remembered of an address while
// nobody knows whether it is a service.
const maxPendingPorts = 64

// state is what the client knows and wants. It is pure: calls in, requests and
// snapshots out; time is handed in. It is not safe for concurrent use.
type state struct {
	resources [kinds]map[string]*resource
	demands   map[netip.Addr]*demand
	outbox    [kinds]outbox
	members   registry
	snapshot  *Snapshot

	dirtyDemands  map[*demand]struct{}
	dirtyClusters map[string]struct{}
	gone          []netip.Addr // forgotten since the last publish
}

func newState() *state {
	s := &state{
		demands:       map[netip.Addr]*demand{},
		members:       registry{},
		snapshot:      &Snapshot{},
		dirtyDemands:  map[*demand]struct{}{},
		dirtyClusters: map[string]struct{}{},
	}
	for k := range kinds {
		s.resources[k] = map[string]*resource{}
	}
	return s
}

// want notes that the data path asks for a destination. Asking again changes
// nothing, and so wakes nobody who waits for the answer.
func (s *state) want(ap netip.AddrPort, now time.Time) {
	d := s.demands[ap.Addr()]
	if d == nil {
		d = &demand{addr: ap.Addr(), used: &mark{}}
		s.demands[ap.Addr()] = d
	}
	d.lastUsed = now
	known := d.ports[ap.Port()] != nil
	if !known && (len(d.ports) < maxPendingPorts || s.isPortOf(d, ap.Port())) {
		if d.ports == nil {
			d.ports = map[uint16]*demandPort{}
		}
		d.ports[ap.Port()] = &demandPort{}
		s.dirtyDemands[d] = struct{}{}
	}
	s.settle()
}

// isPortOf tells whether the address is a service that has the port.
func (s *state) isPortOf(d *demand, port uint16) bool {
	r := s.resources[kindAddress][contract.AddressName(d.addr)]
	return r != nil && r.address != nil && r.address.ports[port]
}

// forget drops a demand and unsubscribes from what nobody else needs.
func (s *state) forget(d *demand) {
	delete(s.demands, d.addr)
	delete(s.dirtyDemands, d)
	for _, dep := range d.deps {
		s.release(d, dep)
	}
	s.gone = append(s.gone, d.addr)
}

// settle works out what follows from what changed.
func (s *state) settle() {
	for d := range s.dirtyDemands {
		s.relink(d)
	}
}

// relink recomputes which resources a demand needs. A port whose new picture is
// not complete keeps the old one, and what that needs, until it is.
func (s *state) relink(d *demand) {
	want := []ref{{kindAddress, contract.AddressName(d.addr)}}
	s.retain(d, want[0])
	a := s.get(want[0]).address
	for port, p := range d.ports {
		if a == nil || !a.ports[port] {
			// Not a service's port (any more); nothing to remember of
			// it once that is sure.
			p.service, p.deps = nil, nil
			if s.get(want[0]).presence != unknown {
				delete(d.ports, port)
			}
			continue
		}
		want = append(want, s.relinkPort(d, p, a.host, port)...)
	}
	for _, dep := range d.deps {
		if !slices.Contains(want, dep) {
			s.release(d, dep)
		}
	}
	d.deps = want
}

func (s *state) relinkPort(d *demand, p *demandPort, host string, port uint16) []ref {
	deps := s.portDeps(contract.ClusterName(host, port))
	complete := true
	for _, dep := range deps {
		s.retain(d, dep)
		complete = complete && s.get(dep).presence != unknown
	}
	routes := s.get(deps[0]).routes
	switch {
	case complete && routes != nil:
		if p.service == nil || p.service.Routes != routes.table || p.service.Host != host {
			p.service = &Service{Host: host, Port: port, Routes: routes.table}
		}
		p.deps = deps
	case complete: // there is no such service
		p.service, p.deps = nil, deps
	case p.service != nil && p.service.Host != host: // the address changed hands
		p.service, p.deps = nil, nil
	}
	all := slices.Clone(deps)
	for _, dep := range p.deps {
		if !slices.Contains(all, dep) {
			all = append(all, dep)
		}
	}
	return all
}

// portDeps lists what a port of a service needs; the routes first. Until they
// are known, the cluster is guessed to have their name: it nearly always has,
// and asking for all three together saves a round trip.
func (s *state) portDeps(name string) []ref {
	deps := []ref{{kindRoute, name}}
	clusters := []string{name}
	if r := s.resources[kindRoute][name]; r != nil && r.routes != nil {
		clusters = r.routes.clusters
	}
	for _, c := range clusters {
		deps = append(deps, ref{kindCluster, c}, ref{kindEndpoints, c})
	}
	return deps
}

func (s *state) get(r ref) *resource { return s.resources[r.kind][r.name] }

func (s *state) retain(d *demand, dep ref) {
	r := s.get(dep)
	if r == nil {
		r = &resource{}
		if dep.kind == kindCluster {
			r.used = &mark{}
		}
		s.resources[dep.kind][dep.name] = r
		s.outbox[dep.kind].subscribe(dep.name)
	}
	if !slices.Contains(r.users, d) {
		r.users = append(r.users, d)
	}
}

func (s *state) release(d *demand, dep ref) {
	r := s.get(dep)
	if r == nil {
		return
	}
	if i := slices.Index(r.users, d); i >= 0 {
		r.users = slices.Delete(r.users, i, i+1)
	}
	if len(r.users) > 0 {
		return
	}
	s.members.release(r.members)
	delete(s.resources[dep.kind], dep.name)
	s.outbox[dep.kind].unsubscribe(dep.name)
	if dep.kind == kindCluster || dep.kind == kindEndpoints {
		s.dirtyClusters[dep.name] = struct{}{}
	}
}

// routesValue is a route table and what it leads to.
type routesValue struct {
	table    *route.Table
	clusters []string
}

// clusterValue is what we use of a cluster's policy: nothing yet but that it
// exists.
type clusterValue struct{}

// addressValue is what an IP address is.
type addressValue struct {
	host     string          // "" when it is no service
	ports    map[uint16]bool // of the service
	workload string          // "namespace/name", for people
}
