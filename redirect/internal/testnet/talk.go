// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every single exchange.
const patience = 5 * time.Second

// Listen serves on an address of the namespace until the returned function, or
// the end of the test; connections that are open then live on. It greets with
// one line, "<name> <original destination> <remote IP>", and then echoes.
func (n *Namespace) Listen(t testing.TB, name, addr string) (stop func()) {
	t.Helper()
	l := n.Listener(t, addr, false)
	var wg sync.WaitGroup
	wg.Go(func() {
		acceptAll(&wg, l, func(c *net.TCPConn) {
			_ = c.SetDeadline(time.Now().Add(patience))
			greet(name, c)
		})
	})
	stop = stopper(t, l)
	t.Cleanup(func() { stop(); wg.Wait() })
	return stop
}

// Listener listens for TCP at an address of the namespace, which is of both
// families if it is "::". A proxy's listener must not speak MPTCP, which hides
// SO_ORIGINAL_DST, and which eBPF doesn't find; others do, as Go's do by default.
func (n *Namespace) Listener(t testing.TB, addr string, multipath bool) (l net.Listener) {
	t.Helper()
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(multipath)
	n.Do(t, func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp", addr)
		return err
	})
	return l
}

// stopper returns what ends the listening at once. Closing alone would not,
// while a process that another test starts has a copy of the descriptor, until
// its exec.
func stopper(t testing.TB, l net.Listener) func() {
	return sync.OnceFunc(func() {
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err == nil {
			ctlErr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RD) })
			err = errors.Join(err, ctlErr)
		}
		if err := errors.Join(err, l.Close()); err != nil {
			t.Errorf("stop listening at %v: %v", l.Addr(), err)
		}
	})
}

// acceptAll serves each connection in a goroutine of wg, until l is closed.
func acceptAll(wg *sync.WaitGroup, l net.Listener, serve func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { serve(c.(*net.TCPConn)) })
	}
}

func greet(name string, c *net.TCPConn) {
	defer c.Close()
	dst, err := OriginalDst(c)
	if err != nil {
		dst = c.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	remote := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	fmt.Fprintf(c, "%s %v %v\n", name, netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port()), remote)
	_, _ = io.Copy(c, c)
}

// OriginalDst asks conntrack for the destination that the peer dialled.
func OriginalDst(c *net.TCPConn) (dst netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return dst, err
	}
	// linux/netfilter_ipv6/ip6_tables.h has the same number under its own name.
	const soOriginalDst = unix.SO_ORIGINAL_DST
	is4 := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().Is4()
	ctlErr := raw.Control(func(fd uintptr) {
		if is4 {
			var m *unix.IPv6Mreq // large enough for a sockaddr_in
			if m, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); err == nil {
				dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Multiaddr[4:8])), binary.BigEndian.Uint16(m.Multiaddr[2:4]))
			}
			return
		}
		var m *unix.IPv6MTUInfo // begins with a sockaddr_in6
		if m, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, soOriginalDst); err == nil {
			port := binary.NativeEndian.AppendUint16(nil, m.Addr.Port)
			dst = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), binary.BigEndian.Uint16(port))
		}
	})
	if ctlErr != nil {
		return dst, ctlErr
	}
	return dst, err
}

// Dial connects from the namespace and returns the open connection and the
// greeting, or the reason why there is none.
func (n *Namespace) Dial(t testing.TB, source, addr string) (net.Conn, string) {
	t.Helper()
	var c net.Conn
	var greeting string
	n.Do(t, func() error {
		c, greeting = dial(source, addr)
		return nil
	})
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, greeting
}

func dial(source, addr string) (net.Conn, string) {
	d := net.Dialer{Timeout: patience}
	if source != "" {
		from, err := netip.ParseAddr(source)
		if err != nil {
			return nil, err.Error()
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err.Error()
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return c, err.Error()
	}
	return c, strings.TrimSpace(line)
}

const childEnv = "SHUNT_TESTNET_DIAL"

// DialAs is Dial by a process of its own, with a uid and a gid. Child must be
// called in TestMain.
func (n *Namespace) DialAs(t testing.TB, uid, gid uint32, source, addr string) string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	var out bytes.Buffer
	n.Do(t, func() error {
		// By descriptor: the folder of a test binary is closed to other users.
		cmd := exec.Command("/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{self}
		cmd.Env = []string{childEnv + "=" + source + " " + addr}
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		return cmd.Run()
	})
	return out.String()
}

// Child does what DialAs or Agent asked for, and reports whether this process is
// a child.
func Child() bool {
	if os.Getenv(agentEnv) != "" {
		if err := serveAgent(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return true
	}
	source, addr, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return false
	}
	_, greeting := dial(source, addr)
	fmt.Fprint(os.Stdout, greeting)
	return true
}
