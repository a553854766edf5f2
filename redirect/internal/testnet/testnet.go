// SPDX-License-Identifier: Apache-2.0

// Package testnet gives tests real network namespaces: a pod and a node that
// are joined by a veth pair. It needs root, says so where root is missing, and
// leaves nothing behind.
package testnet

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/netns"
)

// Addresses of a pair.
const (
	NodeV4 = "10.66.0.1"
	PodV4  = "10.66.0.2"
	NodeV6 = "fd66::1"
	PodV6  = "fd66::2"
	FarV4  = "10.77.0.1" // of the node too, in another network
	FarV6  = "fd77::1"
)

// Namespace is a network namespace of its own. It ends with its test.
type Namespace struct {
	file *os.File
}

// New makes an empty namespace with its loopback interface up.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("network namespaces need root (SHUNT_SKIP=<reason> skips these tests)")
	}
	n := &Namespace{}
	err := netns.Throwaway(func() (err error) {
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return linkUp("lo")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.file.Close() })
	return n
}

// Path returns a path of the namespace for as long as the test runs.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Do calls f on a thread of its own inside the namespace: what f opens or
// starts belongs to it. The thread ends with f.
func (n *Namespace) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := netns.In(n.Path(), f); err != nil {
		t.Fatal(err)
	}
}

// Sysctl writes a value below /proc/sys/net of the namespace.
func (n *Namespace) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	n.Do(t, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644) })
}

// ForgetConnections empties the table of connection tracking.
func (n *Namespace) ForgetConnections(t testing.TB) {
	t.Helper()
	n.Do(t, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

// Pair makes a node and a pod, joined as a CNI plugin would join them.
func Pair(t testing.TB) (node, pod *Namespace) {
	t.Helper()
	node, pod = New(t), New(t)
	Join(t, node, pod, Link{
		Name: "eth0",
		Node: []string{NodeV4 + "/24", NodeV6 + "/64"},
		Pod:  []string{PodV4 + "/24", PodV6 + "/64"},
	})
	node.Do(t, func() error { return addAddrs("lo", FarV4+"/32", FarV6+"/128") })
	pod.Do(t, func() error { return errors.Join(addDefaultRoute(NodeV4), addDefaultRoute(NodeV6)) })
	return node, pod
}

// Link is a veth pair with the same name at both ends.
type Link struct {
	Name      string
	Node, Pod []string // addresses with their prefixes' lengths
}

// Join adds a link between two namespaces.
func Join(t testing.TB, node, pod *Namespace, l Link) {
	t.Helper()
	node.Do(t, func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: l.Name}, PeerName: l.Name,
			PeerNamespace: netlink.NsFd(pod.file.Fd()),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth pair %s: %w", l.Name, err)
		}
		return errors.Join(addAddrs(l.Name, l.Node...), linkUp(l.Name))
	})
	pod.Do(t, func() error { return errors.Join(addAddrs(l.Name, l.Pod...), linkUp(l.Name)) })
}

// AddAddrs gives a link of the namespace more addresses, with their prefixes'
// lengths.
func AddAddrs(t testing.TB, n *Namespace, link string, addrs ...string) {
	t.Helper()
	n.Do(t, func() error { return addAddrs(link, addrs...) })
}

func addAddrs(link string, addrs ...string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find %s: %w", link, err)
	}
	for _, text := range addrs {
		addr, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD // usable at once
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", text, link, err)
		}
	}
	return nil
}

func addDefaultRoute(via string) error {
	gw, err := netlink.ParseAddr(via + "/32")
	if err != nil {
		return err
	}
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gw.IP}); err != nil {
		return fmt.Errorf("add route via %s: %w", via, err)
	}
	return nil
}

func linkUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}
