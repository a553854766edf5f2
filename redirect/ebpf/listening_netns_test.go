// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// asking is the Config of an ordinary pod, in which closed ports are refused.
func asking() redirect.Config {
	c := captureAll()
	c.ClosedPorts = redirect.ClosedRefuse
	return c
}

// earful is a pod that is steered so, with its proxy.
type earful struct {
	Node
	node, pod *testnet.Namespace
}

func newEarful(t *testing.T) earful {
	t.Helper()
	e := earful{Node: loaded(t)}
	e.node, e.pod = testnet.Pair(t)
	e.pod.Listen(t, "proxy", "[::]:15006")
	apply(t, e.Node, e.pod, asking())
	return e
}

// mustHear calls a port of the pod from outside.
func (e earful) mustHear(t *testing.T, when string, port int, heard bool) {
	t.Helper()
	want := "refused"
	if heard {
		want = "proxy "
	}
	c, said := e.node.Dial(t, "", fmt.Sprintf("%s:%d", testnet.PodV4, port))
	if c != nil {
		defer c.Close()
	}
	if !strings.Contains(said, want) {
		t.Errorf("%s: port %d: %q, want %q", when, port, said, want)
	}
}

// mustCount has Check find as many as there are.
func (e earful) mustCount(t *testing.T, when string) {
	t.Helper()
	if err := check(t, e.Node, e.pod, asking()); err != nil {
		t.Errorf("%s: check: %v", when, err)
	}
}

// socket is bound to a port of the pod, and shares it with others.
func (e earful) socket(t *testing.T, port int) (fd int) {
	t.Helper()
	e.pod.Do(t, func() (err error) {
		fd, err = bound(netip.IPv6Unspecified(), port)
		return err
	})
	return fd
}

func bound(addr netip.Addr, port int) (fd int, err error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	// What the proxy has accepted has the port too, and is in the way of who doesn't
	// set SO_REUSEADDR.
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, sockaddr(addr, port)),
	)
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// TestEndsOfListening are all heard of: by shutdown and once more by listen, by
// the last of two descriptors, with a process that is killed.
func TestEndsOfListening(t *testing.T) {
	e := newEarful(t)
	const port = 7000
	fd := e.socket(t, port)
	e.mustHear(t, "bound alone", port, false)
	for range 2 {
		must(t, unix.Listen(fd, 1), unix.Listen(fd, 2))
		e.mustHear(t, "listening", port, true)
		must(t, unix.Shutdown(fd, unix.SHUT_RD))
		e.mustHear(t, "shut down", port, false)
	}
	must(t, unix.Listen(fd, 1))
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err, unix.Close(other))
	e.mustHear(t, "one of two descriptors closed", port, true)
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "listener")}
	must(t, child.Start(), child.ExtraFiles[0].Close())
	e.mustHear(t, "inherited", port, true)
	must(t, child.Process.Kill())
	if err := child.Wait(); err == nil {
		t.Error("a killed process has ended well")
	}
	e.mustHear(t, "killed", port, false)
	e.mustCount(t, "in the end")
}

// TestAcceptedIsNoListener when it ends: it inherits what its listener wants to
// be told.
func TestAcceptedIsNoListener(t *testing.T) {
	e := newEarful(t)
	e.pod.Listen(t, "app", "[::]:7000")
	for range 5 {
		e.mustHear(t, "called", 7000, true)
		e.pod.Do(t, func() error {
			c, said := e.pod.Dial(t, "", "127.0.0.1:7000")
			if c == nil {
				return errors.New(said)
			}
			return c.Close()
		})
	}
	e.mustCount(t, "after connections have ended")
	e.mustHear(t, "after connections have ended", 7000, true)
}

// TestListenersFromBefore are found, and their end is heard of.
func TestListenersFromBefore(t *testing.T) {
	n := loaded(t)
	e := earful{Node: n}
	e.node, e.pod = testnet.Pair(t)
	e.pod.Listen(t, "proxy", "[::]:15006")
	stops, goes := e.pod.Listen(t, "app", "0.0.0.0:7000"), e.pod.Listen(t, "app", "[::]:7001")
	apply(t, n, e.pod, asking())
	e.mustHear(t, "from before", 7000, true)
	e.mustHear(t, "from before", 7001, true)
	e.mustHear(t, "never", 7002, false)
	stops()
	e.mustHear(t, "stopped", 7000, false)
	e.mustCount(t, "stopped")
	remove(t, n, e.pod)
	goes()
	apply(t, n, e.pod, asking())
	e.mustHear(t, "gone while nothing held", 7001, false)
	e.mustCount(t, "applied again")
}

// TestNobodyAsks writes nothing about who listens.
func TestNobodyAsks(t *testing.T) {
	e := newEarful(t)
	e.pod.Listen(t, "app", "[::]:7000")
	apply(t, e.Node, e.pod, captureAll())
	if got := held(t, e.Node); !strings.Contains(got, " 0 ears") {
		t.Errorf("held: %s, want no ears", got)
	}
	e.mustHear(t, "captured", 7001, true)
	apply(t, e.Node, e.pod, asking())
	e.mustHear(t, "asked again", 7001, false)
	e.mustHear(t, "asked again", 7000, true)
}

// must ends the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
