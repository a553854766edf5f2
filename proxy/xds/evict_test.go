// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"net/netip"
	"testing"
	"time"
)

func TestReconnectSaysWhatWeHave(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.ask("192.0.2.1:443")
	g.sendService(1)
	g.send(kindAddress, "/192.0.2.1", nil)
	g.s.reconnect()
	versions, names := map[string]string{}, []string{}
	for req := g.s.next(); req != nil; req = g.s.next() {
		maps.Copy(versions, req.GetInitialResourceVersions())
		names = append(names, req.GetResourceNamesSubscribe()...)
	}
	if len(names) != 5 || len(versions) != 2 || versions["/10.96.0.10"] != "1" {
		t.Errorf("subscribes to %q with %v; want 5 names, and versions of 2 different ones", names, versions)
	}
	g.expect("kept", vip, "1")
}

func TestIdleDestinationsAreForgotten(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.ask("192.0.2.1:443")
	g.sendService(1)
	g.send(kindAddress, "/192.0.2.1", nil)
	const idle = 10 * time.Minute

	// The service is used by its cluster alone: one long connection.
	g.s.forgetIdle(epoch.Add(idle), idle)
	g.s.snapshot.Cluster(clusterName)
	g.s.forgetIdle(epoch.Add(idle+time.Minute), idle)
	g.settle()
	g.expect("used", vip, "1")
	g.expectSubs("the unused address is gone", "A /10.96.0.10", "R "+clusterName, "C "+clusterName, "E "+clusterName)

	g.s.forgetIdle(epoch.Add(idle+2*time.Minute), idle) // notes what expect used
	g.s.forgetIdle(epoch.Add(2*idle+3*time.Minute), idle)
	g.settle()
	g.expectSubs("all gone")
	g.expect("forgotten", vip, "unknown")
	if len(g.s.members) != 0 || g.s.snapshot.clusters.len != 0 {
		t.Errorf("%d endpoints and %d clusters are left", len(g.s.members), g.s.snapshot.clusters.len)
	}
	g.ask(vip)
	g.sendService(3)
	g.expect("and asked for again", vip, "3")
}

func TestScannedAddressesAreBounded(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1)
	const limit = 100
	forgotten := 0
	for i := range 1000 {
		now := epoch.Add(time.Duration(i+1) * time.Second)
		g.s.snapshot.Destination(netip.MustParseAddrPort(vip)) // busy all the time
		forgotten += g.s.makeRoom(limit, now)
		g.s.want(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 80), now)
		g.settle()
	}
	if n := len(g.s.demands); n > limit {
		t.Errorf("%d addresses are remembered, at most %d are allowed", n, limit)
	}
	if len(g.subs) > limit+3 || forgotten < 900 {
		t.Errorf("%d subscriptions, %d forgotten", len(g.subs), forgotten)
	}
	g.expect("what is in use stays", vip, "1")
}

func TestPortsOfOneAddressAreBounded(t *testing.T) {
	g := newGame(t)
	for p := range 5000 {
		g.s.want(netip.AddrPortFrom(netip.MustParseAddr("10.96.0.10"), uint16(p+1)), epoch)
	}
	g.settle()
	if n := len(g.s.demands[netip.MustParseAddr("10.96.0.10")].ports); n > maxPendingPorts {
		t.Errorf("%d ports are remembered", n)
	}
	g.send(kindAddress, "/10.96.0.10", addressOf(80, 4000))
	if n := len(g.s.demands[netip.MustParseAddr("10.96.0.10")].ports); n > 2 {
		t.Errorf("%d ports are remembered of a service that has 2", n)
	}
	g.ask("10.96.0.10:4000")
	g.expectSubs("those of the service", "A /10.96.0.10",
		"R outbound|4000||"+host, "C outbound|4000||"+host, "E outbound|4000||"+host)
}
