// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestListenerComesAndGoes under rules that stay: it is heard at once, refused
// at once when it is gone, and what is open lives on.
func TestListenerComesAndGoes(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			b := newGreeters(t)
			stop := b.pod.Listen(t, "app", "[::]:7777")
			direct := dialGreeter(t, b.node, testnet.PodV4)
			b.apply(t, s, conformance.Settings()[0].Config)
			stop()
			b.mustGreet(t, "7777", "refused")
			if err := echo(direct); err != nil {
				t.Errorf("the connection from before the rules: %v", err)
			}
			for range 3 {
				stop := b.pod.Listen(t, "app", "[::]:7000")
				open := b.mustGreet(t, "7000", "15006 ")
				stop()
				b.mustGreet(t, "7000", "refused")
				if err := echo(open); err != nil {
					t.Errorf("the connection from before the listener closed: %v", err)
				}
			}
		})
	}
}

// TestSamePortAgain has a caller come back from the port of a connection that
// the proxy has ended, while sockets and connection tracking still remember it.
func TestSamePortAgain(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			b := &bed{sink: testnet.NewSink()}
			b.node, b.pod = testnet.Pair(t)
			b.sink.Listen(t, b.pod, conformance.AtInbound, anywhere(contract.PortInbound), false)
			b.apply(t, s, conformance.Settings()[0].Config)
			stop := b.pod.Listen(t, "app", "[::]:7000")
			for range 2 {
				if err := b.briefly(t); err != nil {
					t.Errorf("while somebody listens: %v", err)
				}
			}
			stop()
			if err := b.briefly(t); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("while nobody listens: %v, want it refused", err)
			}
		})
	}
}

// TestOtherNATGetsItsTurn for a port that no socket listens on. Who decides
// behind it finds the socket to which it led.
func TestOtherNATGetsItsTurn(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			b := newGreeters(t)
			b.shell(t, `nft 'table ip published { chain in { type nat hook prerouting priority -90; tcp dport 7003 redirect to :7002; }; }'`)
			b.pod.Listen(t, "app", "0.0.0.0:7002")
			c := conformance.Settings()[0].Config
			b.apply(t, s, c)
			led := "app "
			if s.afterNAT {
				led = "15006 "
			}
			b.mustGreet(t, "7003", led)
			c.ClosedPorts = redirect.ClosedCapture
			b.apply(t, s, c)
			b.mustGreet(t, "7003", "15006 ")
		})
	}
}

// newGreeters is a bed whose proxy greets and then echoes.
func newGreeters(t *testing.T) *bed {
	t.Helper()
	b := &bed{}
	b.node, b.pod = testnet.Pair(t)
	for _, port := range []string{"15001", "15006"} {
		b.pod.Listen(t, port, "[::]:"+port)
	}
	return b
}

// mustGreet connects from the node, and wants a greeting that begins so, or an
// error that says so.
func (b *bed) mustGreet(t *testing.T, port, want string) net.Conn {
	t.Helper()
	c, said := b.node.Dial(t, "", net.JoinHostPort(testnet.PodV4, port))
	if want == "refused" && c == nil && strings.Contains(said, want) || strings.HasPrefix(said, want) {
		return c
	}
	t.Fatalf("port %s: %q, want %q", port, said, want)
	return nil
}

// briefly connects from a port that is always the same, and returns when the
// proxy has ended the connection.
func (b *bed) briefly(t *testing.T) (err error) {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(testnet.NodeV4 + ":40000"))}
	b.node.Do(t, func() error {
		var c net.Conn
		if c, err = d.Dial("tcp", testnet.PodV4+":7000"); err != nil {
			return nil
		}
		defer c.Close()
		_, errWrite := c.Write(make([]byte, 8))
		_, err = io.ReadAll(c)
		err = errors.Join(errWrite, err)
		return nil
	})
	return err
}
