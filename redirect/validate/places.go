// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// outside returns one of the addresses that nobody has (RFC 5737, RFC 3849), and to
// which a pod with a default route has one all the same. Not always the same one:
// connection tracking remembers for two minutes what became of a connection that
// nobody answered, and treats the next one from the same port alike.
func outside(f redirect.Family, pick uint64) netip.Addr {
	if f == redirect.IPv4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + pick%254)})
	}
	addr := [16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8}
	binary.BigEndian.PutUint64(addr[8:], pick|1) // with 0 it would be a router's (RFC 4291 section 2.6.1)
	return netip.AddrFrom16(addr)
}

// surroundings are what a namespace has of one family.
type surroundings struct {
	own, loopback netip.Addr // invalid where there is none
	outside       []Place    // that a route leads to
}

// look reads what needs no privilege: addresses and routes.
func look(f redirect.FamilyPlan) (surroundings, error) {
	var s surroundings
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return s, fmt.Errorf("open route socket: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return s, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string)
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	version := netlink.FAMILY_V4
	if f.Family == redirect.IPv6 {
		version = netlink.FAMILY_V6
	}
	addrs, err := h.AddrList(nil, version)
	if err != nil {
		return s, fmt.Errorf("list addresses: %w", err)
	}
	s.own, s.loopback = sort(f.Family, addrs)
	routes, err := h.RouteList(nil, version)
	if err != nil {
		return s, fmt.Errorf("list routes: %w", err)
	}
	for _, addr := range destinations(f, routes, rand.Uint64()) {
		if found, err := h.RouteGet(addr.AsSlice()); err == nil && len(found) > 0 && found[0].Type == unix.RTN_UNICAST {
			s.outside = append(s.outside, Place{Addr: addr, Interface: names[found[0].LinkIndex]})
		}
	}
	return s, nil
}

// sort finds the pod's own address and that of its loopback interface. One that
// the kernel still looks for twins of (RFC 4862 section 5.4) can't be used yet.
func sort(f redirect.Family, addrs []netlink.Addr) (own, loopback netip.Addr) {
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		addr = addr.Unmap()
		switch {
		case !ok, a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0:
		case addr.IsLoopback():
			if !loopback.IsValid() {
				loopback = addr
			}
		case addr.IsLinkLocalUnicast() && f == redirect.IPv6, isDialSource(f, addr):
		case !own.IsValid():
			own = addr
		}
	}
	return own, loopback
}

func isDialSource(f redirect.Family, addr netip.Addr) bool {
	source, err := f.DialSource()
	return err == nil && source.Contains(addr)
}

// destinations are addresses outside of the pod, in the order in which they are
// tried: nobody's, one of each route, and those of the plan's lists.
func destinations(f redirect.FamilyPlan, routes []netlink.Route, pick uint64) []netip.Addr {
	all := []netip.Addr{outside(f.Family, pick)}
	for _, r := range routes[:min(maxEntries, len(routes))] {
		if p, ok := prefix(r.Dst); ok {
			all = append(all, member(p))
		}
	}
	var out []netip.Addr
	for _, a := range append(all, listed(f)...) {
		if !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() {
			out = append(out, a)
		}
	}
	return out
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits), ok
}
