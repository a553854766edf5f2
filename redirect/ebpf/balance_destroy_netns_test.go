// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// inhabit starts a process in a namespace, as a pod has one, until the test ends.
func inhabit(t testing.TB, ns *testnet.Namespace) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	ns.Do(t, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// open returns a connection to one who must answer.
func (s shop) open(t testing.TB, to, want string) net.Conn {
	t.Helper()
	c, err := way{s.pod, to, named(want)}.call(t)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRemovedEndpointLosesItsConnections, those of its service that were balanced
// and no others, whichever of its ways the kernel has.
func TestRemovedEndpointLosesItsConnections(t *testing.T) {
	for _, way := range []string{"bpf_sock_destroy", "SOCK_DESTROY"} {
		t.Run(way, func(t *testing.T) {
			s := newShop(t)
			inhabit(t, s.pod)
			if way == "SOCK_DESTROY" {
				if err := os.Remove(s.layout().link(programsProgShuntDestroy)); err != nil {
					t.Fatal(err)
				}
			}
			if status, err := s.Status(); err != nil || status.Ends != way {
				t.Fatalf("status: %+v, %v, want that %s ends connections", status, err, way)
			}
			s.serve(t)
			testRemovedEndpoint(t, s)
		})
	}
}

func testRemovedEndpoint(t *testing.T, s shop) {
	t.Helper()
	const one, other, six = testnet.ServiceV4 + ":80", testnet.OtherServiceV4 + ":80", "[" + testnet.ServiceV6 + "]:80"
	s.balance(t, Balanced{Changed: 3}, service(one, firstV4), service(other, firstV4), service(six, firstV6))
	config := captureAll()
	doomed := []net.Conn{s.open(t, one, firstV4), s.open(t, one, firstV4), s.open(t, six, firstV6)}
	others := []net.Conn{
		s.open(t, other, firstV4),                // the same endpoint, by way of another service
		s.open(t, testnet.NodeV4+":80", "proxy"), // of the proxy
	}
	// Past everything to the endpoint itself.
	remove(t, s.Node, s.pod)
	others = append(others, s.open(t, firstV4+":8080", firstV4))
	apply(t, s.Node, s.pod, config)

	// Without new connections they stay, and so they do when others are added.
	drained := service(one, secondV4)
	drained.Endpoints = append(drained.Endpoints, endpoint(firstV4, 0))
	s.balance(t, Balanced{Changed: 1}, drained, service(other, firstV4), service(six, firstV6))
	for _, c := range append(doomed, others...) {
		if err := echo(c); err != nil {
			t.Errorf("connection from %v before its endpoint was removed: %v", c.LocalAddr(), err)
		}
	}
	others = append(others, s.open(t, one, secondV4))
	s.balance(t, Balanced{Changed: 2, Destroyed: 3}, service(one, secondV4), service(other, firstV4), service(six, secondV6))
	for i, c := range doomed {
		if err := echo(c); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("connection %d to a removed endpoint: %v, want %v", i, err, unix.ECONNABORTED)
		}
	}
	// A service that is balanced no more has no endpoint that it lost.
	s.balance(t, Balanced{Changed: 3})
	for i, c := range others {
		if err := echo(c); err != nil {
			t.Errorf("other connection %d: %v", i, err)
		}
	}
	if got := s.counted(t, "destroyed"); got != 3 {
		t.Errorf("destroyed: %d, want 3", got)
	}
	if got := s.table(t); got != emptyTable {
		t.Errorf("table after all: %s, want %s", got, emptyTable)
	}
}

// TestConnectionsOfAFreePodStay are those of one that is captured no more: its
// namespace is nobody's to enter.
func TestConnectionsOfAFreePodStay(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4))
	c := s.open(t, testnet.ServiceV4+":80", firstV4)
	remove(t, s.Node, s.pod)
	s.balance(t, Balanced{Changed: 1, Stayed: 1}, service(testnet.ServiceV4+":80", secondV4))
	if err := echo(c); err != nil {
		t.Error(err)
	}
	if got := s.counted(t, "stayed"); got != 1 {
		t.Errorf("stayed: %d, want 1", got)
	}
	if got, want := s.table(t), "1 services, 1 slots, 0 removals"; got != want {
		t.Errorf("table: %s, want %s", got, want)
	}
}
