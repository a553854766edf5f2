// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tokenSize is the length of what an Attempt sends.
const tokenSize = 8

// Arrival is what a listener saw of an Attempt.
type Arrival struct {
	At        string         // the listener's name
	Dest      netip.AddrPort // original destination, as the proxy would read it
	Source    netip.AddrPort
	Multipath bool // both ends speak MPTCP
}

// Sink remembers what arrived at its listeners.
type Sink struct {
	mu       sync.Mutex
	arrivals map[uint64]Arrival
	changed  chan struct{} // closed and replaced with each arrival
}

// NewSink returns a Sink without listeners.
func NewSink() *Sink {
	return &Sink{arrivals: map[uint64]Arrival{}, changed: make(chan struct{})}
}

// Wait returns what arrived with a token, and false where nothing did in time.
func (s *Sink) Wait(token uint64, patience time.Duration) (Arrival, bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		a, ok := s.arrivals[token]
		changed := s.changed
		s.mu.Unlock()
		if ok {
			return a, true
		}
		select {
		case <-changed:
		case <-timer.C:
			return Arrival{}, false
		}
	}
}

func (s *Sink) add(token []byte, a Arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals[binary.BigEndian.Uint64(token)] = a
	close(s.changed)
	s.changed = make(chan struct{})
}

// Listen serves TCP at an address, as Listener has it, until the returned
// function, or the end of the test.
func (s *Sink) Listen(t testing.TB, n *Namespace, name string, at netip.AddrPort, multipath bool) (stop func()) {
	t.Helper()
	l := n.Listener(t, at.String(), multipath)
	var wg sync.WaitGroup
	wg.Go(func() { acceptAll(&wg, l, func(c *net.TCPConn) { s.serve(name, c) }) })
	quiet := stopper(t, l)
	stop = sync.OnceFunc(func() {
		quiet()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// Datagrams takes what is sent by UDP to a port of every address of the
// namespace, until the end of the test.
func (s *Sink) Datagrams(t testing.TB, n *Namespace, name string, port uint16) {
	t.Helper()
	var p net.PacketConn
	n.Do(t, func() (err error) {
		p, err = net.ListenPacket("udp", net.JoinHostPort("::", strconv.Itoa(int(port))))
		return err
	})
	var wg sync.WaitGroup
	wg.Go(func() { s.datagrams(t, name, p.(*net.UDPConn)) })
	t.Cleanup(func() { _ = p.Close(); wg.Wait() })
}

func (s *Sink) serve(name string, c *net.TCPConn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	token := make([]byte, tokenSize)
	if _, err := io.ReadFull(c, token); err != nil {
		return // whoever dialled has given up, and says so
	}
	a := Arrival{At: name, Source: tcpAddrPort(c.RemoteAddr())}
	var err error
	if a.Dest, err = OriginalDst(c); err != nil {
		a.Dest = tcpAddrPort(c.LocalAddr())
	}
	a.Dest = netip.AddrPortFrom(a.Dest.Addr().Unmap(), a.Dest.Port())
	a.Multipath, _ = c.MultipathTCP()
	s.add(token, a)
	_, _ = c.Write(token)
}

func tcpAddrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// datagrams reads the destination of each from the control message of RFC 3542
// section 6.2, which Linux gives for mapped addresses too.
func (s *Sink) datagrams(t testing.TB, name string, p *net.UDPConn) {
	raw, err := p.SyscallConn()
	if err == nil {
		ctlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1) })
		err = errors.Join(err, ctlErr)
	}
	if err != nil {
		t.Errorf("listen for datagrams: %v", err)
		return
	}
	port := p.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	token, control := make([]byte, tokenSize), make([]byte, 128)
	for {
		n, nc, _, from, err := p.ReadMsgUDPAddrPort(token, control)
		if err != nil {
			return
		}
		if n == tokenSize {
			source := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			s.add(token, Arrival{At: name, Source: source, Dest: netip.AddrPortFrom(packetDest(control[:nc]), port)})
		}
	}
}

func packetDest(control []byte) netip.Addr {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16 {
			return netip.AddrFrom16([16]byte(m.Data[:16])).Unmap()
		}
	}
	return netip.Addr{}
}
