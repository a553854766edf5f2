// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestOpenConnectionsKeepTheirWay under the first apply, when connection
// tracking meets them in their midst, and under each later one.
func TestOpenConnectionsKeepTheirWay(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			b := &bed{}
			b.node, b.pod = testnet.Pair(t)
			for _, addr := range []string{"[::]:15001", "[::]:15006", "[::]:7777"} {
				b.pod.Listen(t, "greeter", addr)
			}
			b.node.Listen(t, "greeter", "[::]:7777")
			open := map[string]net.Conn{}
			dial := func(when string) {
				for _, addr := range []string{testnet.PodV4, testnet.PodV6} {
					open["inbound "+addr+" from "+when] = dialGreeter(t, b.node, addr)
				}
				for _, addr := range []string{testnet.NodeV4, testnet.NodeV6} {
					open["outbound "+addr+" from "+when] = dialGreeter(t, b.pod, addr)
				}
			}
			dial("before")
			for _, c := range s.changes(t) {
				b.apply(t, s, c.New.Config)
				for name, conn := range open {
					if err := echo(conn); err != nil {
						t.Errorf("%s: %s: %v", c.Name, name, err)
						delete(open, name)
					}
				}
				dial(c.Name)
			}
		})
	}
}

// dialGreeter tries for as long as a link may take to come up.
func dialGreeter(t *testing.T, from *testnet.Namespace, addr string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(settleTime); ; {
		c, said := from.Dial(t, "", net.JoinHostPort(addr, "7777"))
		if c != nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("dial %s: %s", addr, said)
		}
	}
}

// echo sends one byte and reads it back.
func echo(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
