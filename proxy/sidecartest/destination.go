// SPDX-License-Identifier: Apache-2.0

package sidecartest

import (
	"context"
	"net"
	"net/netip"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// Service is the name of the service at VIP.
const Service = "greeter.demo.svc.cluster.local"

const cluster = "outbound|80||" + Service

// VIP is where clients of the tests were going. The address is of a range for
// documentation (RFC 5737): nothing answers there but by the proxy.
func VIP() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 80) }

// Origin is a redirection under which every connection had one destination.
type Origin struct{ Destination netip.AddrPort }

// Find implements origdst.Finder.
func (o Origin) Find(c *net.TCPConn) (origdst.Addrs, error) {
	return origdst.Addrs{Source: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Destination: o.Destination}, nil
}

// Discovery knows one snapshot and never learns more.
type Discovery struct{ Known *xds.Snapshot }

// Snapshot implements proxy.Resolver.
func (d Discovery) Snapshot() *xds.Snapshot { return d.Known }

// Resolve implements proxy.Resolver: like discovery that is away, it does not
// answer.
func (Discovery) Resolve(ctx context.Context, _ netip.AddrPort) (xds.Destination, error) {
	<-ctx.Done()
	return xds.Destination{}, ctx.Err()
}

// ServiceAt is discovery that knows Service at VIP, with these endpoints.
func ServiceAt(endpoints ...netip.AddrPort) Discovery {
	var set []*balance.Endpoint
	for _, ap := range endpoints {
		set = append(set, balance.NewEndpoint(ap))
	}
	service := &xds.Service{Host: Service, Port: VIP().Port(), Routes: route.ToCluster(cluster)}
	return Discovery{xds.NewSnapshot(
		map[netip.AddrPort]xds.Destination{VIP(): {Service: service}},
		&xds.Cluster{Name: cluster, Picker: balance.NewP2C(set, nil)})}
}
