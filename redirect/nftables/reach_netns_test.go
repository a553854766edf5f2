// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestLoopbackStaysClosed lets a neighbour do what it can to reach a port that
// is bound to 127.0.0.1: it routes 127.0.0.1 itself to the pod. That the rules
// need no route_localnet is what keeps such packets out.
func TestLoopbackStaysClosed(t *testing.T) {
	node, pod := newPod(t)
	apply(t, pod, captureAll())
	node.Sysctl(t, "ipv4/conf/all/route_localnet", "1")
	node.Do(t, routeLoopbackToPod)
	for _, addr := range []string{"127.0.0.1:7070", "127.0.0.1:8080"} {
		var got string
		node.Do(t, func() error {
			c, err := (&net.Dialer{Timeout: 500 * time.Millisecond}).Dial("tcp", addr)
			if err != nil {
				got = err.Error()
				return nil
			}
			defer c.Close()
			got, err = bufio.NewReader(c).ReadString('\n')
			return err
		})
		if !strings.Contains(got, "timeout") {
			t.Errorf("a neighbour dials the pod's %s: %q, want the pod to drop it", addr, got)
		}
	}
}

// routeLoopbackToPod takes 127.0.0.0/8 from the node's own loopback interface.
func routeLoopbackToPod() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	local, err := netlink.ParseAddr("127.0.0.1/8")
	if err != nil {
		return err
	}
	eth, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	dst, err := netlink.ParseIPNet("127.0.0.1/32")
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrDel(lo, local), netlink.RouteAdd(&netlink.Route{
		LinkIndex: eth.Attrs().Index, Dst: dst,
		Gw:  netip.MustParseAddr(testnet.PodV4).AsSlice(),
		Src: netip.MustParseAddr(testnet.NodeV4).AsSlice(),
	}))
}

// TestUDPIsUntouched sends datagrams both ways, to ports that TCP is captured on.
func TestUDPIsUntouched(t *testing.T) {
	node, pod := testnet.Pair(t)
	apply(t, pod, captureAll())
	for _, way := range []struct {
		name     string
		from, to *testnet.Namespace
		addr     string
	}{
		{"outbound v4", pod, node, testnet.NodeV4 + ":53"},
		{"outbound v6", pod, node, "[" + testnet.NodeV6 + "]:53"},
		{"inbound v4", node, pod, testnet.PodV4 + ":53"},
		{"inbound v6", node, pod, "[" + testnet.PodV6 + "]:53"},
	} {
		t.Run(way.name, func(t *testing.T) {
			var server net.PacketConn
			way.to.Do(t, func() (err error) {
				server, err = net.ListenPacket("udp", way.addr)
				return err
			})
			defer server.Close()
			way.from.Do(t, func() error {
				c, err := net.Dial("udp", way.addr)
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write([]byte("hello"))
				return err
			})
			buf := make([]byte, 16)
			if err := server.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, _, err := server.ReadFrom(buf)
			if got := fmt.Sprint(string(buf[:n]), err); got != "hello<nil>" {
				t.Errorf("datagram: %s, want it to arrive", got)
			}
		})
	}
}
