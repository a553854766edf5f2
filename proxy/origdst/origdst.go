// SPDX-License-Identifier: Apache-2.0

// Package origdst finds where a redirected connection was going. It is the
// only place that knows how the redirection keeps that: it reads the socket
// and touches nothing else.
package origdst

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrNotRedirected is returned for a connection whose destination nobody has
// rewritten. Either it was made to the listener itself, and to serve it would be
// to dial ourselves; or the kernel handed it over as it was, as sk_lookup
// programs do, and its own address is where it was going.
var ErrNotRedirected = errors.New("connection was not redirected")

// Addrs are the two ends as the client sees them.
type Addrs struct {
	Source      netip.AddrPort
	Destination netip.AddrPort // before the redirection
}

// Finder finds them for an accepted connection. IPv4 addresses come as IPv4,
// never mapped into IPv6. With ErrNotRedirected the destination is the
// connection's own address.
type Finder interface {
	Find(*net.TCPConn) (Addrs, error)
}

// Netfilter asks connection tracking: SO_ORIGINAL_DST and
// IP6T_SO_ORIGINAL_DST, as REDIRECT and DNAT rules leave them, and as eBPF
// programs answer in their place.
type Netfilter struct{}

// Find returns ErrNotRedirected when the connection's own local address is its
// original destination, or connection tracking knows nothing of it.
func (Netfilter) Find(c *net.TCPConn) (Addrs, error) {
	source, local := addrPort(c.RemoteAddr()), addrPort(c.LocalAddr())
	dst, err := originalDestination(c, source.Addr().Is4())
	if errors.Is(err, ErrNotRedirected) {
		dst, err = local, nil
	}
	if err != nil {
		return Addrs{}, fmt.Errorf("read original destination of %v: %w", source, err)
	}
	if dst == local {
		return Addrs{Source: source, Destination: local}, fmt.Errorf("read original destination of %v: %v: %w", source, dst, ErrNotRedirected)
	}
	return Addrs{Source: source, Destination: dst}, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
