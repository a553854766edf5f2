// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// ear is a socket of the application, and at which of the pod's addresses the
// kernel takes connections for it.
type ear struct {
	name     string
	at       string // address
	port     uint16
	only6    bool   // IPV6_V6ONLY
	device   string // SO_BINDTODEVICE
	multiple bool   // MPTCP
	deaf     bool   // bound, without listening
	heard    []string
}

// Addresses of the pod: two behind each of its interfaces.
const (
	firstV4, firstV6   = testnet.PodV4, testnet.PodV6
	secondV4, secondV6 = "10.67.0.2", "fd67::2"
)

func podAddresses() []string { return []string{firstV4, firstV6, secondV4, secondV6} }

func ears() []ear {
	v4, v6 := []string{firstV4, secondV4}, []string{firstV6, secondV6}
	const port = 7000
	return []ear{
		{name: "nobody", deaf: true, at: "::", port: port},
		{name: "both families", at: "::", port: port, heard: podAddresses()},
		{name: "IPv4", at: "0.0.0.0", port: port, heard: v4},
		{name: "IPv6 alone", at: "::", port: port, only6: true, heard: v6},
		{name: "one address of IPv4", at: firstV4, port: port, heard: []string{firstV4}},
		{name: "one address of IPv6", at: firstV6, port: port, heard: []string{firstV6}},
		{name: "one address of IPv4, mapped", at: "::ffff:" + firstV4, port: port, heard: []string{firstV4}},
		{name: "loopback", at: "127.0.0.1", port: port},
		{name: "loopback, mapped", at: "::ffff:127.0.0.1", port: port},
		{name: "one interface", at: "::", port: port, device: conformance.SecondLink().Name, heard: []string{secondV4, secondV6}},
		{name: "MPTCP", at: "::", port: port, multiple: true, heard: podAddresses()},
		{name: "MPTCP at one address", at: secondV4, port: port, multiple: true, heard: []string{secondV4}},
		{name: "a port of the system's", at: "::", port: 80, heard: podAddresses()},
		{name: "the last port", at: "0.0.0.0", port: 65535, heard: v4},
	}
}

// TestEars tries who is heard where. Nobody accepts at these sockets: what is
// captured is the proxy's, and what is not is refused.
func TestEars(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			for _, syncookies := range []string{"1", "2"} { // when there is need, and always
				b.pod.Sysctl(t, "ipv4/tcp_syncookies", syncookies)
				b.apply(t, s, conformance.Settings()[0].Config)
				for _, e := range ears() {
					stop := b.listen(t, e)
					b.mustHear(t, e.name, e.port, e.heard)
					stop()
					b.mustHear(t, e.name+", gone", e.port, nil)
				}
			}
		})
	}
}

// TestEarsThatShareAPort with SO_REUSEPORT are heard until the last is gone.
func TestEarsThatShareAPort(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.apply(t, s, conformance.Settings()[0].Config)
			e := ear{at: "::", port: 7000}
			one, other := b.listen(t, e), b.listen(t, e)
			b.mustHear(t, "both", e.port, podAddresses())
			one()
			b.mustHear(t, "one", e.port, podAddresses())
			other()
			b.mustHear(t, "none", e.port, nil)
		})
	}
}

// TestDatagramsNeedNoEar leaves UDP alone while nobody listens for TCP.
func TestDatagramsNeedNoEar(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			setting := conformance.Settings()[0]
			b.apply(t, s, setting.Config)
			b.serve(t, conformance.Nowhere)
			b.all(t, slices.DeleteFunc(setting.Cells(), func(c conformance.Cell) bool { return c.Transport != conformance.UDP }))
		})
	}
}

// mustHear calls a port of each of the pod's addresses.
func (b *bed) mustHear(t *testing.T, name string, port uint16, heard []string) {
	t.Helper()
	for _, addr := range podAddresses() {
		want := conformance.Refused
		if slices.Contains(heard, addr) {
			want = conformance.AtInbound
		}
		if got, err := b.call(netip.MustParseAddr(addr), port); err != nil || got != want {
			t.Errorf("%s: %s port %d: at %s, %v; want it at %s", name, addr, port, got, err, want)
		}
	}
}

// call connects from the node, and returns where that arrived.
func (b *bed) call(addr netip.Addr, port uint16) (at string, err error) {
	token := b.tokens.Add(1)
	o, err := b.onNode[conformance.Application].Do(testnet.Attempt{
		Token: token, Dest: netip.AddrPortFrom(addr, port), Patience: patience,
	})
	switch {
	case err != nil:
		return "", err
	case o.Refused():
		return conformance.Refused, nil
	case o.Err() != nil:
		return "", o.Err()
	}
	a, ok := b.sink.Wait(token, patience)
	if !ok {
		return "", errors.New("it arrived nowhere")
	}
	return a.At, nil
}

// listen opens the ear in the pod.
func (b *bed) listen(t *testing.T, e ear) (stop func()) {
	t.Helper()
	var fd int
	b.pod.Do(t, func() (err error) {
		fd, err = e.open()
		return err
	})
	return func() {
		t.Helper()
		// A process that another test starts may have a copy, until its exec.
		if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil && !e.deaf {
			t.Errorf("stop listening: %v", err)
		}
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

func (e ear) open() (fd int, err error) {
	family, proto := unix.AF_INET6, unix.IPPROTO_TCP
	addr := netip.MustParseAddr(e.at)
	sa := unix.Sockaddr(&unix.SockaddrInet6{Port: int(e.port), Addr: addr.As16()})
	if addr.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(e.port), Addr: addr.As4()}
	}
	if e.multiple {
		proto = unix.IPPROTO_MPTCP
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, proto); err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	options := []error{unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)}
	if e.only6 {
		options = append(options, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1))
	}
	if e.device != "" {
		options = append(options, unix.BindToDevice(fd, e.device))
	}
	err = errors.Join(append(options, unix.Bind(fd, sa))...)
	if err == nil && !e.deaf {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen at %s port %d: %w", e.at, e.port, err)
	}
	return fd, nil
}
