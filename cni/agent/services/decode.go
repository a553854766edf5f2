// SPDX-License-Identifier: Apache-2.0

package services

import (
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/balanceapi"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// maxAddresses bounds the virtual addresses of one port; a Service has one of
// each family.
const maxAddresses = 8

// decode reads one resource: a Service's port as the kernel balances it, by each
// of its addresses. What can't be trusted whole is refused whole, since a
// connection that goes astray is worse than one through the proxy.
func decode(value []byte) ([]ebpf.Service, error) {
	var port balanceapi.BalancedPort
	if err := proto.Unmarshal(value, &port); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if n := len(port.GetAddresses()); n == 0 || n > maxAddresses {
		return nil, fmt.Errorf("it has %d addresses (allowed: 1 to %d)", n, maxAddresses)
	}
	endpoints, err := readEndpoints(port.GetEndpoints())
	if err != nil {
		return nil, err
	}
	var out []ebpf.Service
	for _, address := range port.GetAddresses() {
		vip, err := readAddress(address, port.GetPort())
		if err != nil {
			return nil, fmt.Errorf("read address: %w", err)
		}
		service, ok := serviceAt(vip, endpoints)
		if n := len(service.Endpoints); n > ebpf.MaxEndpoints {
			return nil, fmt.Errorf("it has %d endpoints (allowed: at most %d)", n, ebpf.MaxEndpoints)
		}
		if ok {
			out = append(out, service)
		}
	}
	return out, nil
}

// endpoint is one that was read.
type endpoint struct {
	ebpf.Endpoint
	health balanceapi.Health
}

// usable is whether it may get connections while others that are ready can.
func (e endpoint) usable() bool { return e.health == balanceapi.Health_READY && e.Weight > 0 }

func readEndpoints(in []*balanceapi.Endpoint) ([]endpoint, error) {
	out := make([]endpoint, 0, len(in))
	for _, e := range in {
		addr, err := readAddress(e.GetAddress(), e.GetPort())
		if err != nil {
			return nil, fmt.Errorf("read endpoint: %w", err)
		}
		if _, known := balanceapi.Health_name[int32(e.GetHealth())]; !known {
			return nil, fmt.Errorf("read endpoint %s: health %d is unknown", addr, e.GetHealth())
		}
		out = append(out, endpoint{ebpf.Endpoint{Addr: addr, Weight: e.GetWeight()}, e.GetHealth()})
	}
	return out, nil
}

// readAddress refuses what is no host's in the cluster: connections to such an
// address are nobody's to balance.
func readAddress(address []byte, port uint32) (netip.AddrPort, error) {
	ip, ok := netip.AddrFromSlice(address)
	ip = ip.Unmap()
	switch {
	case !ok:
		return netip.AddrPort{}, fmt.Errorf("an IP address has %d bytes (allowed: 4 or 16)", len(address))
	case ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast():
		return netip.AddrPort{}, fmt.Errorf("%s is no host's address", ip)
	case port == 0 || port > 65535:
		return netip.AddrPort{}, fmt.Errorf("port %d of %s is out of range (allowed: 1 to 65535)", port, ip)
	default:
		return netip.AddrPortFrom(ip, uint16(port)), nil
	}
}

// serviceAt takes the endpoints of the address's family. One that is not to be
// used has no weight, and keeps what it has until it is gone. Where the Service
// has endpoints of the other family alone it is not ok: connect(2) can't change
// families, and the proxy can.
func serviceAt(vip netip.AddrPort, all []endpoint) (s ebpf.Service, ok bool) {
	ready := false
	s = ebpf.Service{Addr: vip}
	for _, e := range all {
		ready = ready || sameFamily(e, vip) && e.usable()
	}
	for _, e := range all {
		if !sameFamily(e, vip) {
			continue
		}
		if ready && e.health == balanceapi.Health_DRAINING || e.health == balanceapi.Health_UNREADY {
			e.Weight = 0
		}
		s.Endpoints = append(s.Endpoints, e.Endpoint)
	}
	return s, len(s.Endpoints) > 0 || len(all) == 0
}

func sameFamily(e endpoint, vip netip.AddrPort) bool { return e.Addr.Addr().Is4() == vip.Addr().Is4() }
