// SPDX-License-Identifier: Apache-2.0

package sidecartest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
)

// Free ports are looked for below those that the kernel gives to connections
// (ip_local_port_range begins at 32768), so that nobody takes one between the
// look and the use; and in places that chance chooses, so that tests of other
// processes look elsewhere.
const (
	firstPort = 10_000
	portCount = 20_000
)

// FreeAddrs returns n loopback addresses that nobody listens on.
func FreeAddrs(t testing.TB, n int) []netip.AddrPort {
	t.Helper()
	var found []netip.AddrPort
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(portCount))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer l.Close() // when all have been found, so that each is another
		if found = append(found, netip.MustParseAddrPort(address)); len(found) == n {
			return found
		}
	}
	t.Fatal("no port of the loopback interface is free")
	return nil
}

// AddrOf is where a TCP listener is.
func AddrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
