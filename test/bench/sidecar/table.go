// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// origin tells where connections were going: inbound ones to the application,
// outbound ones to the virtual addresses in turn.
type origin struct {
	vips         []netip.AddrPort
	application  netip.AddrPort
	inboundLocal string
	turn         atomic.Uint64
}

func newOrigin(s *settings) *origin {
	return &origin{vips: s.vips, application: s.inbound, inboundLocal: s.proxy.InboundListen}
}

// Find implements origdst.Finder.
func (o *origin) Find(c *net.TCPConn) (origdst.Addrs, error) {
	a := origdst.Addrs{Source: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
	if c.LocalAddr().String() == o.inboundLocal {
		a.Destination = o.application
		return a, nil
	}
	a.Destination = o.vips[(o.turn.Add(1)-1)%uint64(len(o.vips))]
	return a, nil
}

// table is discovery that knows one service and never changes.
type table struct{ snapshot *xds.Snapshot }

var _ proxy.Resolver = table{}

// Snapshot implements proxy.Resolver.
func (t table) Snapshot() *xds.Snapshot { return t.snapshot }

// Resolve implements proxy.Resolver.
func (table) Resolve(context.Context, netip.AddrPort) (xds.Destination, error) {
	return xds.Destination{}, errors.New("the table has nothing else")
}

// hosts is how many authorities the routes are of.
const hosts = 10

// newTable has n routes, by authority and prefix. The load matches the last
// prefix of the last authority; all others lead to a cluster that does not
// exist, so that a request which goes astray fails. TCP, which has no authority,
// falls to the wildcard.
func newTable(vip netip.AddrPort, backends []netip.AddrPort, n int) (table, error) {
	if n < hosts || n%hosts != 0 {
		return table{}, fmt.Errorf("%d routes (allowed: multiples of %d)", n, hosts)
	}
	const cluster = "outbound|80||echo.bench.svc.cluster.local"
	var all []route.Host
	for h := range hosts {
		host := route.Host{Domains: []string{fmt.Sprintf("shop-%d.bench.test", h)}}
		for r := range n/hosts - 1 {
			host.Rules = append(host.Rules, route.Rule{
				Prefix: fmt.Sprintf("/bench.Other%d/", r), Route: route.Route{Name: "other", Cluster: "astray"},
			})
		}
		last := route.Rule{Prefix: "/bench.Echo/", Route: route.Route{Name: "echo", Cluster: "astray"}}
		if h == hosts-1 {
			last.Route.Cluster = cluster
		}
		host.Rules = append(host.Rules, last)
		all = append(all, host)
	}
	all = append(all, route.Host{Domains: []string{"*"}, Rules: []route.Rule{{Prefix: "/", Route: route.Route{Name: "rest", Cluster: cluster}}}})
	routes, err := route.NewTable(all...)
	if err != nil {
		return table{}, err
	}
	var endpoints []*balance.Endpoint
	for _, ap := range backends {
		endpoints = append(endpoints, balance.NewEndpoint(ap))
	}
	service := &xds.Service{Host: "echo.bench.svc.cluster.local", Port: 80, Routes: routes}
	return table{xds.NewSnapshot(
		map[netip.AddrPort]xds.Destination{vip: {Service: service}},
		&xds.Cluster{Name: cluster, Picker: balance.NewP2C(endpoints, nil)},
	)}, nil
}
