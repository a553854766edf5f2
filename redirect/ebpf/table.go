// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// The layout of bpf/balance.h, written down a second time. TestBalanceLayout holds
// the sizes.

// place is an address, IPv4 mapped, and a port, in network byte order.
type place struct {
	Addr     [16]byte
	Port     [2]byte
	Reserved [2]byte
}

func placeOf(a netip.AddrPort) place {
	p := place{Addr: a.Addr().As16()}
	binary.BigEndian.PutUint16(p.Port[:], a.Port())
	return p
}

func (p place) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), binary.BigEndian.Uint16(p.Port[:]))
}

// String returns such as "10.0.0.1:80".
func (p place) String() string { return p.addrPort().String() }

func (p place) compare(other place) int {
	return cmp.Or(bytes.Compare(p.Addr[:], other.Addr[:]), bytes.Compare(p.Port[:], other.Port[:]))
}

// slotBits are those of a slot's number, and of how many there are; those of a
// table's number stand above them.
const slotBits = 16

// slotKey finds a slot; with the number of slots in place of a slot's it is the
// word of a service.
type slotKey uint64

func slotKeyOf(table uint64, slot int) slotKey { return slotKey(table<<slotBits | uint64(slot)) }

func (k slotKey) table() uint64 { return uint64(k) >> slotBits }
func (k slotKey) slot() int     { return int(k & (1<<slotBits - 1)) }

// removal is an endpoint that a service has no more.
type removal struct{ Service, Endpoint place }

// table is what the connections of a service are chosen from.
type table struct {
	slots  int     // the first places; a weight is a place in several
	places []place // behind the slots those that get no new connections
}

// has reports whether the service has an endpoint at all.
func (t table) has(p place) bool { return slices.Contains(t.places, p) }

func (t table) equal(other table) bool {
	return t.slots == other.slots && slices.Equal(t.places, other.places)
}

// tablesOf returns the table of each service. It says which of them can't be
// balanced, and where they are too many.
func tablesOf(services []Service) (map[place]table, error) {
	out := make(map[place]table, len(services))
	if len(services) > MaxServices {
		return nil, fmt.Errorf("balance %d services: there is room for %d (leave some to the proxy)", len(services), MaxServices)
	}
	places := 0
	for _, s := range services {
		t, err := tableOf(s)
		if err != nil {
			return nil, fmt.Errorf("balance service %v: %w", s.Addr, err)
		}
		key := placeOf(s.Addr)
		if _, is := out[key]; is {
			return nil, fmt.Errorf("balance service %v: it is there twice", s.Addr)
		}
		out[key] = t
		if places += len(t.places); places > MaxSlots {
			return nil, fmt.Errorf("balance service %v: with it, %d services take more than the %d slots that there are (leave some to the proxy, or give their endpoints equal weights)", s.Addr, len(out), MaxSlots)
		}
	}
	return out, nil
}

// tableOf lays out one service: the same for the same endpoints in whatever order.
func tableOf(s Service) (table, error) {
	weights, err := weightsOf(s)
	if err != nil {
		return table{}, err
	}
	if len(weights) > MaxEndpoints {
		return table{}, fmt.Errorf("it has %d endpoints, and %d is the most that are balanced in connect (leave it to the proxy)", len(weights), MaxEndpoints)
	}
	order := make([]place, 0, len(weights))
	for p := range weights {
		order = append(order, p)
	}
	slices.SortFunc(order, place.compare)
	each := make([]uint32, len(order))
	for i, p := range order {
		each[i] = weights[p]
	}
	var t table
	var idle []place
	for i, slots := range share(each, slotBound(len(order))) {
		if slots == 0 {
			idle = append(idle, order[i])
		}
		t.places = append(t.places, slices.Repeat(order[i:i+1], slots)...)
	}
	t.slots = len(t.places)
	t.places = append(t.places, idle...)
	return t, nil
}

// weightsOf checks a service's addresses. An endpoint that is there twice has the
// larger weight.
func weightsOf(s Service) (map[place]uint32, error) {
	if err := checkAddr(s.Addr); err != nil {
		return nil, err
	}
	weights := make(map[place]uint32, len(s.Endpoints))
	for _, e := range s.Endpoints {
		if err := checkAddr(e.Addr); err != nil {
			return nil, fmt.Errorf("endpoint %v: %w", e.Addr, err)
		}
		if e.Addr.Addr().Unmap().Is4() != s.Addr.Addr().Unmap().Is4() {
			return nil, fmt.Errorf("endpoint %v: it is of the other IP family, and a socket of the service's can't reach it", e.Addr)
		}
		p := placeOf(e.Addr)
		weights[p] = max(weights[p], e.Weight)
	}
	return weights, nil
}

func checkAddr(a netip.AddrPort) error {
	switch ip := a.Addr(); {
	case !ip.IsValid():
		return errors.New("it has no address")
	case a.Port() == 0:
		return errors.New("it has no port (1 to 65535)")
	case ip.Zone() != "":
		return errors.New("its address has a zone, which means something on one host alone")
	case ip.Unmap().IsUnspecified() || ip.Unmap().IsMulticast() || ip.Unmap().IsLoopback():
		return errors.New("its address is not of one service or pod (unspecified, loopback or multicast)")
	default:
		return nil
	}
}
