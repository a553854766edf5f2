// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// surroundings are what of a namespace the programs must know, since nothing can
// be asked in the midst of connect(2): which addresses are the pod's own, and
// which of them what leaves would have.
type surroundings struct {
	own    []netip.Addr
	routes []route
}

// look reads the calling thread's namespace.
func look() (surroundings, error) {
	var s surroundings
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return s, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && !onLink(ip.Unmap()) {
			s.own = append(s.own, ip.Unmap())
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := ways(family)
		if err != nil {
			return s, err
		}
		s.routes = append(s.routes, routes...)
	}
	return s, nil
}

// onLink reports whether an address means something on one link alone. Such
// addresses come and go with their links, seconds after a pod was made, and
// nobody could be sent to one by way of the proxy: they are taken for strangers'.
func onLink(a netip.Addr) bool {
	return a.Is6() && a.IsLinkLocalUnicast() || a.IsMulticast()
}

// linkLocal is the way to them all. They have no source that could be bound to
// without the link.
func linkLocal() route {
	prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80}), 10)
	return route{prefix, netip.IPv6Unspecified()}
}

// loopbackIndex is that of the loopback interface, which Linux fixes. Routes by
// way of it lead to the pod itself.
const loopbackIndex = 1

// ways asks for each route which source the kernel would choose. A route that
// leads nowhere just now is none.
func ways(family int) ([]route, error) {
	everyTable := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	list, err := netlink.RouteListFiltered(family, everyTable, netlink.RT_FILTER_TABLE)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []route
	for _, r := range list {
		dest, ok := prefixOf(r, family)
		if !ok || r.Type != unix.RTN_UNICAST || r.LinkIndex == loopbackIndex || onLink(dest.Addr()) || slices.ContainsFunc(out, func(o route) bool { return o.dest == dest }) {
			continue
		}
		source, err := sourceFor(dest)
		if err != nil {
			return nil, err
		}
		if source.IsValid() {
			out = append(out, route{dest, source})
		}
	}
	return out, nil
}

func prefixOf(r netlink.Route, family int) (netip.Prefix, bool) {
	if r.Dst == nil { // the default route
		if family == netlink.FAMILY_V4 {
			return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	addr, ok := netip.AddrFromSlice(r.Dst.IP)
	bits, size := r.Dst.Mask.Size()
	if !ok {
		return netip.Prefix{}, false
	}
	if size == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits), true
}

// An address behind the default route, of networks that nobody has (RFC 5737,
// RFC 3849): the route itself names none.
var (
	elsewhere4 = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	elsewhere6 = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
)

// sourceFor returns no address where there is no way.
func sourceFor(dest netip.Prefix) (netip.Addr, error) {
	probe := dest.Addr()
	switch {
	case dest.Bits() == 0 && probe.Is4():
		probe = elsewhere4
	case dest.Bits() == 0:
		probe = elsewhere6
	case dest.Bits() < probe.BitLen():
		probe = probe.Next() // the first of a network is often nobody's
	}
	found, err := netlink.RouteGet(probe.AsSlice())
	if noWay(err) {
		return netip.Addr{}, nil
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask for the way to %v: %w", probe, err)
	}
	if len(found) == 0 {
		return netip.Addr{}, nil
	}
	source, _ := netip.AddrFromSlice(found[0].Src)
	return source.Unmap(), nil
}

// noWay reports whether the kernel knows of none, or is told not to take it.
func noWay(err error) bool {
	return slices.ContainsFunc([]error{
		unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT,
	}, func(no error) bool { return errors.Is(err, no) })
}
