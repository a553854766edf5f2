// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// dial sends the first packet of a connection before it returns. The connection
// says by itself what became of it: the first write waits until it stands, and
// returns why it doesn't.
//
// What leaves the pod gets no further than to its first router (a time to live
// of 1): it is nobody's business. That router's answer tells that it has left.
func dial(c Case) (net.Conn, error) {
	domain := unix.AF_INET
	if c.Flow.Dest.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "case")
	defer file.Close() // FileConn has its own
	if err := prepare(fd, domain, c); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sockaddr(c.Flow.Dest)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, err
	}
	return net.FileConn(file)
}

func prepare(fd, domain int, c Case) error {
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("set linger: %w", err)
	}
	if !c.Ours {
		level, option := unix.SOL_IP, unix.IP_TTL
		if domain == unix.AF_INET6 {
			level, option = unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS
		}
		if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
			return fmt.Errorf("set time to live: %w", err)
		}
	}
	if !c.Flow.Source.IsValid() {
		return nil
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(c.Flow.Source, 0))); err != nil {
		return &bindError{c.Flow.Source, err}
	}
	return nil
}

// bindError says that the namespace lacks an address.
type bindError struct {
	addr netip.Addr
	err  error
}

func (e *bindError) Error() string { return fmt.Sprintf("use address %v: %v", e.addr, e.err) }
func (e *bindError) Unwrap() error { return e.err }

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}
