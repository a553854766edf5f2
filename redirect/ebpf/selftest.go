// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// selfTestTime bounds each connection of the self-test. They stay on this host.
const selfTestTime = 2 * time.Second

// Networks for documentation (RFC 5737): nobody else has them, and here they
// exist in the throw-away namespaces alone.
var (
	selfTestPod     = netip.MustParsePrefix("192.0.2.2/24")
	selfTestOutside = netip.MustParsePrefix("192.0.2.1/24")
)

// selfTestPort is one that may be listened at without CAP_NET_BIND_SERVICE.
const selfTestPort = 8080

// SelfTest captures a connection in each direction in namespaces of its own, and
// takes them away again. It says whether programs that loaded also do their work
// here; the calling process must be below the control group. It may run beside
// everything else.
func (n Node) SelfTest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*selfTestTime)
	defer cancel()
	config := redirect.DefaultConfig()
	config.IncludeInboundPorts.All, config.IncludeOutboundCIDRs.All = true, true
	plan, err := redirect.NewPlan(config)
	if err != nil {
		return fmt.Errorf("test node: %w", err)
	}
	pod, outside, err := newRooms(selfTestPod, selfTestOutside)
	if err != nil {
		return fmt.Errorf("test node: %w", err)
	}
	defer pod.close()
	defer outside.close()
	err = pod.do(func() error { _, err := Backend{n.BPFFS}.Apply(ctx, plan); return err })
	if err == nil {
		err = errors.Join(
			wrap("outbound", tryCapture(ctx, pod, pod, contract.PortOutbound, selfTestOutside, originalDestination)),
			wrap("inbound, while nobody listens", tryClosed(ctx, outside, selfTestPod)),
			wrap("inbound", tryInbound(ctx, outside, pod)),
		)
	}
	err = errors.Join(err, pod.do(func() error { return Backend{n.BPFFS}.Remove(context.WithoutCancel(ctx)) }))
	if err != nil {
		return fmt.Errorf("test node: %w", err)
	}
	return nil
}

func wrap(direction string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", direction, err)
	}
	return nil
}

// tryClosed dials a port on which nobody listens.
func tryClosed(ctx context.Context, from *room, at netip.Prefix) error {
	c, err := dial(ctx, from, at)
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		err = errors.Join(errors.New("the proxy has it, want it refused"), c.Close())
	}
	return err
}

// tryInbound has somebody listen who is to be called by way of the proxy alone.
func tryInbound(ctx context.Context, from, at *room) error {
	l, err := listen(ctx, at, selfTestPort)
	if err != nil {
		return err
	}
	defer l.Close()
	return tryCapture(ctx, from, at, contract.PortInbound, selfTestPod, ownAddress)
}

// tryCapture dials from one room, and expects the proxy's port of the other to
// be told where the connection was going.
func tryCapture(ctx context.Context, from, at *room, port int, to netip.Prefix, ask func(*net.TCPConn) (netip.AddrPort, error)) error {
	l, err := listen(ctx, at, port)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := dial(ctx, from, to)
	if err != nil {
		return fmt.Errorf("%w (it was not captured; is this process below the control group?)", err)
	}
	defer c.Close()
	return expect(l.(*net.TCPListener), netip.AddrPortFrom(to.Addr(), selfTestPort), ask)
}

func listen(ctx context.Context, at *room, port int) (l net.Listener, err error) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false) // as the proxy does
	err = at.do(func() (err error) {
		l, err = config.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
		return err
	})
	return l, err
}

func dial(ctx context.Context, from *room, to netip.Prefix) (c net.Conn, err error) {
	err = from.do(func() (err error) {
		c, err = (&net.Dialer{Timeout: selfTestTime}).DialContext(ctx, "tcp", netip.AddrPortFrom(to.Addr(), selfTestPort).String())
		return err
	})
	return c, err
}

// expect accepts one connection and compares what it says of its destination.
func expect(l *net.TCPListener, want netip.AddrPort, ask func(*net.TCPConn) (netip.AddrPort, error)) error {
	if err := l.SetDeadline(time.Now().Add(selfTestTime)); err != nil {
		return err
	}
	c, err := l.AcceptTCP()
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := ask(c)
	if err != nil {
		return fmt.Errorf("ask for the original destination: %w", err)
	}
	if got != want {
		return fmt.Errorf("the proxy is told %v, want %v", got, want)
	}
	return nil
}

func ownAddress(c *net.TCPConn) (netip.AddrPort, error) {
	own, err := netip.ParseAddrPort(c.LocalAddr().String())
	return netip.AddrPortFrom(own.Addr().Unmap(), own.Port()), err
}

// originalDestination asks as the proxy does. ipv6_mreq begins with 16 bytes, the
// size of the sockaddr_in that is answered.
func originalDestination(c *net.TCPConn) (dst netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return dst, err
	}
	const soOriginalDst = 80 // linux/netfilter_ipv4.h
	errControl := raw.Control(func(fd uintptr) {
		var m *unix.IPv6Mreq
		if m, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); err == nil {
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4]))
		}
	})
	return dst, errors.Join(errControl, err)
}
