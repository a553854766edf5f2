// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// token tells a connection of ours from everybody else's.
type token [16]byte

// arrival is a connection of ours that reached a listener.
type arrival struct {
	token token
	at    uint16         // the listener's port
	dest  netip.AddrPort // where it was going, as the proxy would read it
}

// maxWaiting bounds the connections that a listener holds until they have sent
// their token; others may call these ports too.
const maxWaiting = 32

// stage is where connections may arrive: in the proxy's place, and in that of an
// application.
type stage struct {
	listeners []net.Listener
	arrivals  chan arrival
	done      chan struct{}
	serving   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{} // accepted, and not read yet
	closed bool
}

func newStage() *stage {
	return &stage{arrivals: make(chan arrival), done: make(chan struct{}), open: make(map[net.Conn]struct{})}
}

// listen adds a listener at an address, and returns its port; 0 asks for a free
// one. Only the pod itself can reach a loopback address.
func (s *stage) listen(addr netip.AddrPort) (port uint16, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // it hides SO_ORIGINAL_DST
	l, err := config.Listen(context.Background(), "tcp", addr.String())
	if err != nil {
		return 0, fmt.Errorf("listen at %v: %w", addr, err)
	}
	s.listeners = append(s.listeners, l)
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		port = tcp.AddrPort().Port()
	}
	s.serving.Go(func() { s.accept(l, port) })
	return port, nil
}

// close returns when nothing of the stage runs any more.
func (s *stage) close() {
	close(s.done)
	for _, l := range s.listeners {
		_ = l.Close() // it was only listened at
	}
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close() // somebody else's, who sends nothing
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// hold takes a connection until it is let go, unless the stage is closed.
func (s *stage) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[c] = struct{}{}
	}
	return !s.closed
}

// letGo closes a connection. A reset leaves no TIME_WAIT at the proxy's port.
func (s *stage) letGo(c *net.TCPConn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (s *stage) accept(l net.Listener, port uint16) {
	room := make(chan struct{}, maxWaiting)
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed, or out of descriptors: then nothing arrives, which is said
		}
		tcp, ok := c.(*net.TCPConn)
		select {
		case room <- struct{}{}:
		default:
			ok = false
		}
		if !ok {
			_ = c.Close()
			continue
		}
		s.serving.Go(func() { s.receive(tcp, port, func() { <-room }) })
	}
}

// receive leaves it to whoever dialled to end the connection. Connection tracking
// remembers one that we end for ten seconds, and treats the next one from the same
// port as it did this one, whatever the rules are by then.
func (s *stage) receive(c *net.TCPConn, port uint16, leave func()) {
	defer s.letGo(c)
	a, ok := s.read(c, port)
	leave()
	if !ok {
		return
	}
	select {
	case s.arrivals <- a:
	case <-s.done:
	}
	_, _ = c.Read(make([]byte, 1)) // until it is reset, or the stage is closed
}

// read waits for a token. What comes without one is somebody else's.
func (s *stage) read(c *net.TCPConn, port uint16) (arrival, bool) {
	if !s.hold(c) {
		return arrival{}, false
	}
	a := arrival{at: port, dest: originalDest(c)}
	_, err := io.ReadFull(c, a.token[:])
	return a, err == nil
}

// originalDest asks connection tracking, which eBPF programs answer for in its
// place where they redirect. Where nobody knows, nothing was redirected.
func originalDest(c *net.TCPConn) netip.AddrPort {
	local := addrPort(c.LocalAddr())
	dest := local
	raw, err := c.SyscallConn()
	if err != nil {
		return local
	}
	err = raw.Control(func(fd uintptr) {
		if found, err := query(int(fd), local.Addr().Is4()); err == nil {
			dest = found
		}
	})
	if err != nil {
		return local
	}
	return dest
}

// query borrows the calls for structures that begin as wanted: ipv6_mreq with as
// many bytes as a sockaddr_in has, ip6_mtuinfo with a sockaddr_in6. The option
// has one number in both families (linux/netfilter_ipv6/ip6_tables.h).
func query(fd int, v4 bool) (netip.AddrPort, error) {
	if v4 {
		m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4])), nil
	}
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.NativeEndian.AppendUint16(nil, m.Addr.Port) // the kernel left it in network order
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), binary.BigEndian.Uint16(port)), nil
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// hintListen adds what a person can do about a port that is taken.
func hintListen(err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("%w (another process of the pod listens at the proxy's port: let it take another one)", err)
	}
	return err
}
