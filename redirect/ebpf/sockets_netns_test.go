// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestSocketsShowNothing of the redirection to the application: its own end has
// the pod's address and the other the one that it called.
func TestSocketsShowNothing(t *testing.T) {
	n := loaded(t)
	node, pod := testnet.Pair(t)
	pod.Listen(t, "proxy", "[::]:15001")
	node.Listen(t, "far", "[::]:80")
	apply(t, n, pod, captureAll())
	mapped := func(a string) string { return "::ffff:" + a }
	for _, tt := range []struct{ dest, own, source string }{
		{testnet.NodeV4, testnet.PodV4, device},
		{testnet.NodeV6, testnet.PodV6, device},
		{testnet.NodeV4, testnet.PodV4, ""},
		{testnet.NodeV6, testnet.PodV6, ""},
		{testnet.FarV4, testnet.PodV4, ""},
		{mapped(testnet.NodeV4), testnet.PodV4, ""},
		{testnet.NodeV4, testnet.PodV4, testnet.PodV4},
		{testnet.NodeV6, testnet.PodV6, testnet.PodV6},
	} {
		pod.Do(t, func() error {
			own, peer, greeting, err := call(netip.MustParseAddr(tt.dest), tt.source)
			if err != nil {
				return fmt.Errorf("call %s: %w", tt.dest, err)
			}
			if got, want := own.Addr().Unmap().String(), tt.own; got != want {
				t.Errorf("to %s from %q: own address %s, want %s", tt.dest, tt.source, got, want)
			}
			want := netip.AddrPortFrom(netip.MustParseAddr(tt.dest), 80)
			if peer != want {
				t.Errorf("to %s from %q: peer %v, want %v", tt.dest, tt.source, peer, want)
			}
			if want := "proxy " + netip.AddrPortFrom(want.Addr().Unmap(), 80).String() + " " + tt.own; greeting != want {
				t.Errorf("to %s from %q: the proxy says %q, want %q", tt.dest, tt.source, greeting, want)
			}
			return nil
		})
	}
}

// device stands for a socket that is bound to the pod's interface.
const device = "eth0"

// call connects with the kernel's own calls: package net would dial a mapped
// address from an IPv4 socket, and remembers what it has dialled.
func call(dest netip.Addr, source string) (own, peer netip.AddrPort, greeting string, err error) {
	family := unix.AF_INET6
	if dest.Is4() {
		family = unix.AF_INET
	}
	s, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return own, peer, "", err
	}
	defer unix.Close(s)
	switch source {
	case "":
	case device:
		if err := unix.BindToDevice(s, device); err != nil {
			return own, peer, "", err
		}
	default:
		if err := unix.Bind(s, sockaddr(netip.MustParseAddr(source), 0)); err != nil {
			return own, peer, "", err
		}
	}
	if err := unix.Connect(s, sockaddr(dest, 80)); err != nil {
		return own, peer, "", err
	}
	ownSA, err := unix.Getsockname(s)
	if err != nil {
		return own, peer, "", err
	}
	peerSA, err := unix.Getpeername(s)
	if err != nil {
		return own, peer, "", err
	}
	buf := make([]byte, 256)
	k, err := unix.Read(s, buf)
	return addrPort(ownSA), addrPort(peerSA), strings.TrimSpace(string(buf[:max(k, 0)])), err
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	default:
		return netip.AddrPort{}
	}
}

// TestNoWay fails as without a proxy, and bypasses nothing when the way appears.
func TestNoWay(t *testing.T) {
	n := loaded(t)
	ns := testnet.New(t) // with a loopback interface alone
	ns.Listen(t, "proxy", "[::]:15001")
	apply(t, n, ns, captureAll())
	for _, dest := range []string{"192.0.2.1", "2001:db8::1"} {
		ns.Do(t, func() error {
			_, _, greeting, err := call(netip.MustParseAddr(dest), "")
			if !errors.Is(err, unix.ENETUNREACH) {
				t.Errorf("%s: %q, %v, want %v", dest, greeting, err, unix.ENETUNREACH)
			}
			return nil
		})
	}
	s, err := n.Status()
	if err != nil || s.Counters["refused_no_route"] != 2 {
		t.Errorf("counted: %v, %v, want 2 refused_no_route", s.Counters, err)
	}
}

// TestProxyRestarts is found again by itself, whether it listens anew before the
// next connection or not.
func TestProxyRestarts(t *testing.T) {
	n := loaded(t)
	node, pod := testnet.Pair(t)
	apply(t, n, pod, captureAll())
	for i := range 3 {
		var l net.Listener
		pod.Do(t, func() (err error) {
			l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:8080")
			return err
		})
		if _, said := node.Dial(t, "", testnet.PodV4+":8080"); !strings.Contains(said, "refused") {
			t.Errorf("round %d, without a proxy: %q, want a refusal", i, said)
		}
		_ = l.Close()
		t.Run("proxy", func(t *testing.T) {
			pod.Listen(t, "proxy", "[::]:15006")
			if _, said := node.Dial(t, "", testnet.PodV4+":8080"); !strings.HasPrefix(said, "proxy ") {
				t.Errorf("round %d, with a proxy: %q", i, said)
			}
		})
	}
}
