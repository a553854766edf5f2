// SPDX-License-Identifier: Apache-2.0

// Package model is the neutral picture of services and their endpoints, with
// nothing of Kubernetes or xDS in it. Facts from a registry go into a Builder,
// Changes come out: immutable values, and only of what the facts touched. It
// is pure: no I/O, no clock, no goroutine, no lock.
package model

import (
	"cmp"
	"net/netip"
	"slices"
)

// Key names a service, a slice of endpoints or a pod.
type Key struct {
	Namespace, Name string
}

// Compare orders keys by namespace, then name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, o.Namespace), cmp.Compare(k.Name, o.Name))
}

// Service is what callers see: virtual IPs and ports.
type Service struct {
	Key   Key
	Host  string       // fully qualified: "greeter.demo.svc.cluster.local"
	VIPs  []netip.Addr // sorted; none for headless services
	Ports []Port       // sorted by number
}

// Port is one TCP port of a service.
type Port struct {
	Name   string // "" when the service has one port only; names the port in slices
	Number uint16 // what callers dial
	Target uint16 // what pods listen on; 0 when it is named, and may differ from pod to pod
	// AtConnect is that nodes which can do so balance its connections in
	// connect(2), past the proxies.
	AtConnect bool
}

// Health is whether an endpoint is to be used.
type Health uint8

// An endpoint that is neither is not in the model.
const (
	Ready    Health = iota // use it
	Draining               // terminating but still serving: use it when no other is left
)

// Endpoint is one pod's port behind a service's port.
type Endpoint struct {
	Addr   netip.AddrPort
	Health Health
	Zone   string
}

// compare orders endpoints so that equal sets are equal slices.
func (e Endpoint) compare(o Endpoint) int {
	return cmp.Or(e.Addr.Compare(o.Addr), cmp.Compare(e.Health, o.Health), cmp.Compare(e.Zone, o.Zone))
}

// Workload is the pod behind an IP address.
type Workload struct {
	Key  Key
	Addr netip.Addr
}

// Address is what an IP address is; one field is set.
type Address struct {
	Service  *Service
	Workload *Workload
}

// Slice is a fact: a part of the endpoints of one service.
type Slice struct {
	Key       Key
	Service   string // name of the service, in the namespace of the slice
	Ports     []SlicePort
	Endpoints []SliceEndpoint
}

// SlicePort gives the pods' port behind the service's port of the same name.
type SlicePort struct {
	Name   string
	Number uint16
}

// SliceEndpoint is one pod in a slice.
type SliceEndpoint struct {
	Addrs  []netip.Addr
	Health Health
	Absent bool // known, but not to be sent traffic: only its name counts
	Zone   string
	Pod    Key // zero when it is no pod
}

// sortedEndpoints sorts, and leaves one endpoint per address. While a pod moves
// from one slice to another both have it, and they may differ: Ready wins.
func sortedEndpoints(in []Endpoint) []Endpoint {
	slices.SortFunc(in, Endpoint.compare)
	return slices.CompactFunc(in, func(a, b Endpoint) bool { return a.Addr == b.Addr })
}
