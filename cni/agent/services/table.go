// SPDX-License-Identifier: Apache-2.0

package services

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// table is what discovery has said, over all streams. It is pure.
type table struct {
	entries map[string]entry // by the resource's name
	size    size             // of all entries
	whole   bool             // nothing is missing of what discovery has begun to say
}

// entry is one resource.
type entry struct {
	version  string         // "" where it is to be sent again with the next stream
	services []ebpf.Service // none where it can't be used
	refused  bool
}

// size is what the kernel's table has limits for, and endpoints for people.
type size struct{ services, endpoints, slots int }

func (s size) plus(o size) size {
	return size{s.services + o.services, s.endpoints + o.endpoints, s.slots + o.slots}
}

func (s size) minus(o size) size {
	return size{s.services - o.services, s.endpoints - o.endpoints, s.slots - o.slots}
}

func (s size) fits() bool { return s.services <= ebpf.MaxServices && s.slots <= ebpf.MaxSlots }

func sizeOf(services []ebpf.Service) (s size) {
	for _, each := range services {
		s = s.plus(size{1, len(each.Endpoints), slots(each.Endpoints)})
	}
	return s
}

// slots is how many places of the kernel's table the endpoints take at most: one
// each while the weights of those in use are equal.
func slots(endpoints []ebpf.Endpoint) int {
	weight := uint32(0)
	for _, e := range endpoints {
		if e.Weight > 0 && weight > 0 && e.Weight != weight {
			return ebpf.MaxEndpoints
		}
		weight = max(weight, e.Weight)
	}
	return len(endpoints)
}

func newTable() *table { return &table{entries: map[string]entry{}} }

// apply takes a response. The error is for discovery and people: it names what
// is not used, and why; all else is.
func (t *table) apply(r *xdsapi.DeltaDiscoveryResponse) error {
	if r.GetTypeUrl() != contract.TypeBalanced {
		return fmt.Errorf("type %q was not asked for", r.GetTypeUrl())
	}
	for _, name := range r.GetRemovedResources() {
		t.remove(name)
	}
	var errs []error
	for _, resource := range r.GetResources() {
		if err := t.set(resource); err != nil {
			errs = append(errs, fmt.Errorf("resource %q: %w", resource.GetName(), err))
		}
	}
	t.whole = r.GetSystemVersionInfo() != contract.PartialResponse
	return errors.Join(errs...)
}

func (t *table) remove(name string) {
	t.size = t.size.minus(sizeOf(t.entries[name].services))
	delete(t.entries, name)
}

var errFull = errors.New("the node's table is full")

// set replaces an entry. One that can't be used, or has no room, leaves nothing
// of itself: the proxy balances it then.
func (t *table) set(r *xdsapi.Resource) error {
	t.remove(r.GetName())
	if len(t.entries) >= ebpf.MaxServices {
		return errFull // and not even its name is kept
	}
	services, err := decode(r.GetResource().GetValue())
	version := r.GetVersion()
	if err == nil && !t.size.plus(sizeOf(services)).fits() {
		services, version, err = nil, "", errFull
	}
	t.size = t.size.plus(sizeOf(services))
	t.entries[strings.Clone(r.GetName())] = entry{strings.Clone(version), services, err != nil}
	return err
}

// versions lists what need not be sent again.
func (t *table) versions() map[string]string {
	out := map[string]string{}
	for name, e := range t.entries {
		if e.version != "" {
			out[name] = e.version
		}
	}
	return out
}

// services lists what the kernel is to balance, by name. Two may claim an address
// while it changes hands; the first by name has it.
func (t *table) services() []ebpf.Service {
	out := make([]ebpf.Service, 0, t.size.services)
	taken := make(map[netip.AddrPort]bool, t.size.services)
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		for _, s := range t.entries[name].services {
			if !taken[s.Addr] {
				taken[s.Addr] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// refused counts the resources that can't be used.
func (t *table) refused() (n int) {
	for _, e := range t.entries {
		if e.refused {
			n++
		}
	}
	return n
}
