// SPDX-License-Identifier: Apache-2.0

package origdst

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const originalDst = 80

func originalDestination(c *net.TCPConn, v4 bool) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var dst netip.AddrPort
	var sockErr error
	query := query6
	if v4 {
		query = query4
	}
	if err := raw.Control(func(fd uintptr) { dst, sockErr = query(int(fd)) }); err != nil {
		return netip.AddrPort{}, err
	}
	// Connection tracking has no entry, or isn't there at all.
	if errors.Is(sockErr, syscall.ENOENT) || errors.Is(sockErr, syscall.ENOPROTOOPT) {
		return netip.AddrPort{}, ErrNotRedirected
	}
	return dst, sockErr
}

// query4 borrows the call for another structure: ipv6_mreq begins with 16
// bytes, the size of the sockaddr_in that the kernel writes.
func query4(fd int) (netip.AddrPort, error) {
	m, err := syscall.GetsockoptIPv6Mreq(fd, syscall.IPPROTO_IP, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(m.Multiaddr[2:4])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), port), nil
}

// query6: ip6_mtuinfo begins with a sockaddr_in6.
func query6(fd int) (netip.AddrPort, error) {
	info, err := syscall.GetsockoptIPv6MTUInfo(fd, syscall.IPPROTO_IPV6, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, info.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), port), nil
}
