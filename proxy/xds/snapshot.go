// SPDX-License-Identifier: Apache-2.0

// Package xds is the proxy's side of discovery: a Delta ADS client. Names of
// what the data path asks for go in, an immutable Snapshot comes out. Only
// stream.go performs I/O; what a response means is decided in state.go, which
// is pure.
package xds

import (
	"net/netip"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
)

// Destination is what discovery says of an original destination.
type Destination struct {
	// Service is nil when the address is no service: a pod, or something
	// outside the cluster. Traffic then goes to the address itself.
	Service *Service
}

// Service is one port of a service, whole: its routes and every cluster that
// they name are in the same Snapshot.
type Service struct {
	Host   string // "greeter.demo.svc.cluster.local"
	Port   uint16 // the service's port, not the pod's
	Routes *route.Table
}

// Cluster is a set of endpoints and the policy over it.
type Cluster struct {
	Name   string
	Picker balance.Picker

	endpoints []endpoint // for Dump; the picker has its own copy
	used      *mark      // nil in snapshots that no client made
}

// Snapshot is an immutable picture of all that is known. Its methods are safe
// for concurrent use and take no lock. Each also notes that the data path uses
// what it asked for, so that the client stays subscribed to it: ask anew for
// each request rather than hold on to the answer, and call Client.Resolve when
// the answer is "never asked".
type Snapshot struct {
	addresses table[netip.Addr, *address]
	clusters  table[string, *Cluster]
}

// address is what is known of one IP address.
type address struct {
	// ports has the service's ports that were asked for and are complete.
	ports map[uint16]*Service
	// pending has those that were not asked for, or are not complete yet.
	// Every other port belongs to no service.
	pending map[uint16]bool
	// workload names the pod behind an address that is no service:
	// "namespace/name". It is told for people, nothing decides by it.
	workload string
	used     *mark
}

// NewSnapshot returns a snapshot of plain values, for tests of what reads one.
// A Destination without Service says that the address is known to be none; the
// other ports of an address that is given are then no service either.
func NewSnapshot(destinations map[netip.AddrPort]Destination, clusters ...*Cluster) *Snapshot {
	s := &Snapshot{}
	byAddr := map[netip.Addr]*address{}
	for ap, d := range destinations {
		ip := ap.Addr().Unmap()
		a := byAddr[ip]
		if a == nil {
			a = &address{ports: map[uint16]*Service{}}
			byAddr[ip] = a
		}
		if d.Service != nil {
			a.ports[ap.Port()] = d.Service
		}
	}
	s.addresses = s.addresses.with(byAddr)
	byName := map[string]*Cluster{}
	for _, c := range clusters {
		byName[c.Name] = c
	}
	s.clusters = s.clusters.with(byName)
	return s
}

// Destination says what an original destination is. known is false when nobody
// asked for it, or the answer is not complete: call Client.Resolve. A known
// Destination without Service is to be passed through.
func (s *Snapshot) Destination(ap netip.AddrPort) (d Destination, known bool) {
	a, ok := s.addresses.get(ap.Addr().Unmap())
	if !ok {
		return Destination{}, false
	}
	a.used.set()
	if svc := a.ports[ap.Port()]; svc != nil {
		return Destination{Service: svc}, true
	}
	return Destination{}, !a.pending[ap.Port()]
}

// Cluster returns the endpoints that a route names; false means that discovery
// says there is no such cluster.
func (s *Snapshot) Cluster(name string) (*Cluster, bool) {
	c, ok := s.clusters.get(name)
	if !ok {
		return nil, false
	}
	c.used.set()
	return c, true
}
