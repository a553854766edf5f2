// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cni_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/cni"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// TestPod is the life of an injected pod, by each backend and by the node's choice.
func TestPod(t *testing.T) {
	for _, b := range append(backends.All(), backends.Backend{Name: backends.Auto}) {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			pod := newPod(t, false)
			stdin := withEntry(t, "injected-1.0.0", func(c map[string]any) { c["backend"] = b.Name })
			call := func(verb string, code uint, want string) {
				t.Helper()
				got := invocation{verb: verb, stdin: stdin, netns: pod, real: true}.run(t)
				if e := errorOf(t, got.stdout); e.Code != code || got.stderr != "" || !strings.Contains(e.Error(), want) {
					t.Errorf("%s: exit code %d, %d %q, %s; want code %d %q", verb, got.code, e.Code, e.Error(), got.stderr, code, want)
				}
			}
			call("CHECK", cni.CodeDifferent, "found no")
			call("ADD", 0, "")
			call("CHECK", 0, "")
			arrivesAtProxy(t, pod)
			call("ADD", 0, "")
			call("CHECK", 0, "")
			call("DEL", 0, "")
			call("DEL", 0, "")
			call("CHECK", 0, "") // what still runs in the pod has no way past the proxy
			remove(t, pod, b.Name)
			call("CHECK", cni.CodeDifferent, "found no")
			if err := os.Remove(pod); err != nil {
				t.Fatal(err)
			}
			call("DEL", 0, "")
			call("ADD", types.ErrInvalidEnvironmentVariables, "CNI_NETNS")
			call("CHECK", types.ErrInvalidEnvironmentVariables, "CNI_NETNS")
		})
	}
}

// remove takes the rules away behind the plugin's back.
func remove(t *testing.T, pod, name string) {
	t.Helper()
	choice, err := backends.Choose(name, backends.All())
	if err != nil {
		t.Fatal(err)
	}
	in(t, pod, func() error {
		_, err := choice.Remove(t.Context())
		return err
	})
}

// arrivesAtProxy opens a connection to the outside, which ends at the port of the
// proxy.
func arrivesAtProxy(t *testing.T, pod string) {
	t.Helper()
	in(t, pod, func() error {
		if err := outside(); err != nil {
			return fmt.Errorf("make a way out: %w", err)
		}
		proxy, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("0.0.0.0:15001")))
		if err != nil {
			return err
		}
		defer proxy.Close()
		conn, err := net.DialTimeout("tcp4", "192.0.2.1:80", 2*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := proxy.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		accepted, err := proxy.AcceptTCP()
		if err != nil {
			return err
		}
		return accepted.Close()
	})
}

// outside gives a pod an address and a route that leads nowhere.
func outside() error {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "nowhere"}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr("10.66.0.2/24")
	if err != nil {
		return err
	}
	peer, err := netlink.LinkByName(link.PeerName)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link), netlink.LinkSetUp(peer)); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(10, 66, 0, 1)})
}

// TestOtherPods leaves a pod that is not injected, or captures itself, as it is.
func TestOtherPods(t *testing.T) {
	for _, example := range []string{"not-injected", "init-container", "no-interception"} {
		pod := newPod(t, false)
		if got := (invocation{verb: "ADD", stdin: stdinOf(t, example), netns: pod, real: true}).run(t); got.code != 0 {
			t.Errorf("%s: exit code %d, %s", example, got.code, got.stdout)
		}
		in(t, pod, func() error {
			for _, b := range backends.All() {
				if holds, err := b.Holds(t.Context()); holds || err != nil {
					t.Errorf("%s: %s holds something: %v, %v", example, b.Name, holds, err)
				}
			}
			return nil
		})
	}
}

// TestLoopbackPlugin may run beside the plugin, as containerd lets it: it sets
// the interface up and refuses any address on it that is not a loopback address.
func TestLoopbackPlugin(t *testing.T) {
	for range 20 {
		pod := newPod(t, true)
		done := make(chan result, 1)
		go func() {
			done <- invocation{verb: "ADD", stdin: stdinOf(t, "injected-1.0.0"), netns: pod, real: true}.run(t)
		}()
		time.Sleep(50 * time.Millisecond) // it runs by now, and waits
		in(t, pod, func() error {
			if err := loopbackUp(); err != nil {
				return err
			}
			lo, err := net.InterfaceByName("lo")
			if err != nil {
				return err
			}
			addrs, err := lo.Addrs()
			for _, addr := range addrs {
				if prefix, ok := addr.(*net.IPNet); !ok || !prefix.IP.IsLoopback() {
					t.Errorf("address %v on the loopback interface before it is up", addr)
				}
			}
			return err
		})
		if got := <-done; got.code != 0 {
			t.Fatalf("exit code %d, %s", got.code, got.stdout)
		}
		if got := (invocation{verb: "CHECK", stdin: stdinOf(t, "injected-1.0.0"), netns: pod, real: true}).run(t); got.code != 0 {
			t.Errorf("CHECK: exit code %d, %s", got.code, got.stdout)
		}
	}
}

// TestLoopbackStaysDown captures the pod nevertheless.
func TestLoopbackStaysDown(t *testing.T) {
	pod := newPod(t, true)
	if got := (invocation{verb: "ADD", stdin: stdinOf(t, "injected-1.0.0"), netns: pod, real: true}).run(t); got.code != 0 {
		t.Fatalf("exit code %d, %s", got.code, got.stdout)
	}
	in(t, pod, loopbackUp)
	if got := (invocation{verb: "CHECK", stdin: stdinOf(t, "injected-1.0.0"), netns: pod, real: true}).run(t); got.code != 0 {
		t.Errorf("CHECK: exit code %d, %s", got.code, got.stdout)
	}
	arrivesAtProxy(t, pod)
}
