// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"net/netip"
	"slices"
)

// Builder turns facts into changes. Facts may come in any order: a slice before
// its service, or after it is gone. It is not safe for concurrent use.
type Builder struct {
	services map[Key]*Service
	slices   map[Key]*Slice
	ofSvc    map[Key]map[Key]*Slice                // service -> its slices
	vips     map[netip.Addr]map[Key]*Service       // more than one only while an address changes hands
	pods     map[netip.Addr]map[Key]*SliceEndpoint // by slice
	dirty    dirty
}

// dirty is what facts touched since the last Flush.
type dirty struct {
	services  map[Key]*Service // as it was at the last Flush; nil when it is new
	endpoints map[Key]bool
	addrs     map[netip.Addr]bool
}

func newDirty() dirty {
	return dirty{services: map[Key]*Service{}, endpoints: map[Key]bool{}, addrs: map[netip.Addr]bool{}}
}

// NewBuilder returns a builder that knows nothing.
func NewBuilder() *Builder {
	return &Builder{
		services: map[Key]*Service{},
		slices:   map[Key]*Slice{},
		ofSvc:    map[Key]map[Key]*Slice{},
		vips:     map[netip.Addr]map[Key]*Service{},
		pods:     map[netip.Addr]map[Key]*SliceEndpoint{},
		dirty:    newDirty(),
	}
}

// SetService adds or replaces a service. The builder keeps s; it is not to be
// changed any more.
func (b *Builder) SetService(s *Service) {
	b.replaceService(s.Key, s)
}

// DeleteService forgets a service. Its slices stay until they are deleted.
func (b *Builder) DeleteService(k Key) {
	b.replaceService(k, nil)
}

func (b *Builder) replaceService(k Key, s *Service) {
	old := b.services[k]
	if old == nil && s == nil {
		return
	}
	if _, seen := b.dirty.services[k]; !seen {
		b.dirty.services[k] = old
	}
	b.dirty.endpoints[k] = true
	if old != nil {
		for _, ip := range old.VIPs {
			remove(b.vips, ip, k)
			b.dirty.addrs[ip] = true
		}
		delete(b.services, k)
	}
	if s == nil {
		return
	}
	b.services[k] = s
	for _, ip := range s.VIPs {
		insert(b.vips, ip, k, s)
		b.dirty.addrs[ip] = true
	}
}

// SetSlice adds or replaces a slice. The builder keeps s; it is not to be
// changed any more.
func (b *Builder) SetSlice(s *Slice) {
	b.replaceSlice(s.Key, s)
}

// DeleteSlice forgets a slice.
func (b *Builder) DeleteSlice(k Key) {
	b.replaceSlice(k, nil)
}

func (b *Builder) replaceSlice(k Key, s *Slice) {
	old := b.slices[k]
	before, after := old.pods(), s.pods()
	if old != nil {
		svc := Key{k.Namespace, old.Service}
		remove(b.ofSvc, svc, k)
		b.dirty.endpoints[svc] = true
		delete(b.slices, k)
	}
	if s != nil {
		svc := Key{k.Namespace, s.Service}
		insert(b.ofSvc, svc, k, s)
		b.dirty.endpoints[svc] = true
		b.slices[k] = s
	}
	for ip, e := range before {
		if after[ip] == nil {
			remove(b.pods, ip, k)
			b.dirty.addrs[ip] = true
		} else if !e.samePod(after[ip]) {
			b.dirty.addrs[ip] = true
		}
	}
	for ip, e := range after {
		insert(b.pods, ip, k, e)
		if before[ip] == nil {
			b.dirty.addrs[ip] = true
		}
	}
}

// pods lists the addresses by which a pod can be found. A nil slice has none.
func (s *Slice) pods() map[netip.Addr]*SliceEndpoint {
	out := map[netip.Addr]*SliceEndpoint{}
	if s == nil {
		return out
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.Pod == (Key{}) {
			continue
		}
		for _, ip := range e.Addrs {
			out[ip] = e
		}
	}
	return out
}

// samePod tells whether what beats looks at is the same.
func (e *SliceEndpoint) samePod(o *SliceEndpoint) bool {
	return e.Pod == o.Pod && e.Health == o.Health && e.Absent == o.Absent
}

// Flush returns what changed since the last Flush. Something that a fact
// touched without changing it may be among it.
func (b *Builder) Flush() Changes {
	c := Changes{Addresses: make(map[netip.Addr]Address, len(b.dirty.addrs))}
	for k, old := range b.dirty.services {
		c.Services = append(c.Services, ServiceChange{Old: old, New: b.services[k]})
	}
	slices.SortFunc(c.Services, func(x, y ServiceChange) int { return x.key().Compare(y.key()) })
	for _, k := range slices.SortedFunc(maps.Keys(b.dirty.endpoints), Key.Compare) {
		if svc := b.services[k]; svc != nil {
			ports := b.endpoints(svc)
			c.Endpoints = append(c.Endpoints, ServiceEndpoints{Service: svc, Ports: ports, Unready: b.unready(svc, ports)})
		}
	}
	for ip := range b.dirty.addrs {
		c.Addresses[ip] = b.address(ip)
	}
	b.dirty = newDirty()
	return c
}

// endpoints lists the endpoints of each port of a service.
func (b *Builder) endpoints(svc *Service) map[uint16][]Endpoint {
	out := make(map[uint16][]Endpoint, len(svc.Ports))
	for _, port := range svc.Ports {
		var all []Endpoint
		for _, s := range b.ofSvc[svc.Key] {
			all = s.appendEndpoints(all, port.Name)
		}
		out[port.Number] = sortedEndpoints(all)
	}
	return out
}

func (s *Slice) appendEndpoints(to []Endpoint, port string) []Endpoint {
	for _, p := range s.Ports {
		if p.Name != port {
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if e.Absent {
				continue
			}
			for _, ip := range e.Addrs {
				to = append(to, Endpoint{Addr: netip.AddrPortFrom(ip, p.Number), Health: e.Health, Zone: e.Zone})
			}
		}
	}
	return to
}

// address says what an IP address is now. A virtual IP beats a pod.
func (b *Builder) address(ip netip.Addr) Address {
	if owners := b.vips[ip]; len(owners) > 0 {
		return Address{Service: owners[slices.MinFunc(slices.Collect(maps.Keys(owners)), Key.Compare)]}
	}
	var best *SliceEndpoint
	for _, e := range b.pods[ip] {
		if best == nil || e.beats(best) {
			best = e
		}
	}
	if best == nil {
		return Address{}
	}
	return Address{Workload: &Workload{Key: best.Pod, Addr: ip}}
}

// beats decides which pod has an address that several slices know: one that is
// in use rather than one that is going, since addresses are handed on.
func (e *SliceEndpoint) beats(o *SliceEndpoint) bool {
	rank := func(e *SliceEndpoint) int {
		switch {
		case e.Absent:
			return 2
		case e.Health == Draining:
			return 1
		default:
			return 0
		}
	}
	if x, y := rank(e), rank(o); x != y {
		return x < y
	}
	return e.Pod.Compare(o.Pod) < 0
}

func insert[K comparable, V any](m map[K]map[Key]V, k K, by Key, v V) {
	inner := m[k]
	if inner == nil {
		inner = make(map[Key]V, 1)
		m[k] = inner
	}
	inner[by] = v
}

func remove[K comparable, V any](m map[K]map[Key]V, k K, by Key) {
	inner := m[k]
	delete(inner, by)
	if len(inner) == 0 {
		delete(m, k)
	}
}
