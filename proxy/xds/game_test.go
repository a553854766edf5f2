// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/workloadapi"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
)

var epoch = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

const (
	vip  = "10.96.0.10:80"
	host = "greeter.demo.svc.cluster.local"
)

var clusterName = contract.ClusterName(host, 80)

func addressOf(ports ...uint32) proto.Message {
	svc := &workloadapi.Service{Hostname: host}
	for _, p := range ports {
		svc.Ports = append(svc.Ports, &workloadapi.Port{ServicePort: p})
	}
	return &workloadapi.Address{Type: &workloadapi.Address_Service{Service: svc}}
}

func routesTo(name string, clusters ...string) *xdsapi.RouteConfiguration {
	vh := &xdsapi.VirtualHost{Name: "all", Domains: []string{"*"}}
	for i, c := range clusters {
		match := &xdsapi.RouteMatch{PathSpecifier: &xdsapi.RouteMatch_Prefix{Prefix: strings.Repeat("/x", len(clusters)-1-i) + "/"}}
		vh.Routes = append(vh.Routes, &xdsapi.Route{Match: match, Route: &xdsapi.RouteAction{Cluster: c}})
	}
	return &xdsapi.RouteConfiguration{Name: name, VirtualHosts: []*xdsapi.VirtualHost{vh}}
}

func edsCluster(name string) *xdsapi.Cluster {
	return &xdsapi.Cluster{Name: name, Type: xdsapi.Cluster_EDS}
}

// members makes endpoints 10.1.0.<n>:8080; those below zero are draining.
func members(name string, ns ...int) *xdsapi.ClusterLoadAssignment {
	group := &xdsapi.LocalityLbEndpoints{}
	for _, n := range ns {
		health := xdsapi.HealthStatus_HEALTHY
		if n < 0 {
			health, n = xdsapi.HealthStatus_DRAINING, -n
		}
		group.LbEndpoints = append(group.LbEndpoints, &xdsapi.LbEndpoint{
			HealthStatus: health,
			Endpoint: &xdsapi.Endpoint{Address: &xdsapi.Address{SocketAddress: &xdsapi.SocketAddress{
				Address: fmt.Sprintf("10.1.0.%d", n), PortValue: 8080,
			}}},
		})
	}
	return &xdsapi.ClusterLoadAssignment{ClusterName: name, Endpoints: []*xdsapi.LocalityLbEndpoints{group}}
}

// game is a state and what its server would see.
type game struct {
	t     *testing.T
	s     *state
	subs  map[ref]bool // what the server believes is subscribed to
	nacks []string
	turn  int
}

func newGame(t *testing.T) *game { return &game{t: t, s: newState(), subs: map[ref]bool{}} }

// ask is what Resolve does.
func (g *game) ask(ap string) {
	g.s.want(netip.MustParseAddrPort(ap), epoch)
	g.settle()
}

// settle publishes, and takes in all requests.
func (g *game) settle() {
	g.s.publish()
	for req := g.s.next(); req != nil; req = g.s.next() {
		k, _ := kindOf(req.GetTypeUrl())
		for _, name := range req.GetResourceNamesSubscribe() {
			g.subs[ref{k, name}] = true
		}
		for _, name := range req.GetResourceNamesUnsubscribe() {
			delete(g.subs, ref{k, name})
		}
		if detail := req.GetErrorDetail(); detail != nil {
			g.nacks = append(g.nacks, detail.GetMessage())
		}
	}
}

// send plays a response with one resource; nil says that it does not exist.
func (g *game) send(k kind, name string, m proto.Message) {
	g.t.Helper()
	g.turn++
	resp := &xdsapi.DeltaDiscoveryResponse{TypeUrl: k.typeURL(), Nonce: fmt.Sprint(g.turn)}
	if m == nil {
		resp.RemovedResources = []string{name}
	} else {
		b, err := proto.Marshal(m)
		if err != nil {
			g.t.Fatal(err)
		}
		resp.Resources = []*xdsapi.Resource{{
			Name: name, Version: fmt.Sprint(g.turn), Resource: &xdsapi.Any{TypeUrl: k.typeURL(), Value: b},
		}}
	}
	_ = g.s.apply(resp) // what the NACK says is in nacks
	g.settle()
}

func (g *game) sendCluster(name string, ns ...int) {
	g.t.Helper()
	g.send(kindCluster, name, edsCluster(name))
	g.send(kindEndpoints, name, members(name, ns...))
}

func (g *game) sendService(ns ...int) {
	g.t.Helper()
	g.send(kindAddress, "/10.96.0.10", addressOf(80))
	g.send(kindRoute, clusterName, routesTo(clusterName, clusterName))
	g.sendCluster(clusterName, ns...)
}

// picture is what the data path sees of a destination.
func (g *game) picture(ap, path string) string {
	d, known := g.s.snapshot.Destination(netip.MustParseAddrPort(ap))
	switch {
	case !known:
		return "unknown"
	case d.Service == nil:
		return "no service"
	}
	r, ok := d.Service.Routes.Match(route.Request{Path: path})
	if !ok {
		return "no route"
	}
	c, ok := g.s.snapshot.Cluster(r.Cluster)
	if !ok {
		return "no cluster"
	}
	var picked []*balance.Endpoint
	for e, ok := c.Picker.Pick(balance.Request{}); ok; e, ok = c.Picker.Pick(balance.Request{Tried: picked}) {
		picked = append(picked, e)
	}
	var out []string
	for _, e := range picked {
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(e.Addr().String(), "10.1.0."), ":8080"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (g *game) expect(what, ap, want string) {
	g.t.Helper()
	if got := g.picture(ap, "/"); got != want {
		g.t.Errorf("%s: %s is %q, want %q", what, ap, got, want)
	}
}

func (g *game) expectSubs(what string, want ...string) {
	g.t.Helper()
	var got []string
	for r := range g.subs {
		got = append(got, string("ARCE"[r.kind])+" "+r.name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		g.t.Errorf("%s: subscriptions (-want +got):\n%s", what, diff)
	}
}
