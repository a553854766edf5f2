// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
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

func TestServiceIsPublishedWhole(t *testing.T) {
	c := clusterName
	steps := []func(*game){
		func(g *game) { g.send(kindRoute, c, routesTo(c, c)) },
		func(g *game) { g.send(kindCluster, c, edsCluster(c)) },
		func(g *game) { g.send(kindEndpoints, c, members(c, 1, 2)) },
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		g := newGame(t)
		g.expect("nothing asked", vip, "unknown")
		g.ask(vip)
		g.expectSubs("at first", "A /10.96.0.10")
		g.send(kindAddress, "/10.96.0.10", addressOf(80, 90))
		g.expectSubs("all three in parallel", "A /10.96.0.10", "R "+c, "C "+c, "E "+c)
		g.expect("a port that is none", "10.96.0.10:81", "no service")
		g.expect("a port that nobody asked for", "10.96.0.10:90", "unknown")
		for i, step := range order {
			g.expect(fmt.Sprintf("order %v before step %d", order, i), vip, "unknown")
			steps[step](g)
		}
		g.expect(fmt.Sprintf("order %v", order), vip, "1 2")
	}
}

func TestAddressesThatAreNoService(t *testing.T) {
	g := newGame(t)
	g.ask("192.0.2.1:443")
	g.expect("asked", "192.0.2.1:443", "unknown")
	g.send(kindAddress, "/192.0.2.1", nil)
	g.expect("it does not exist", "192.0.2.1:443", "no service")
	g.expect("neither does another port", "192.0.2.1:80", "no service")
	g.expectSubs("still subscribed", "A /192.0.2.1")

	g.ask("10.1.0.1:8080")
	g.send(kindAddress, "/10.1.0.1", &workloadapi.Address{Type: &workloadapi.Address_Workload{
		Workload: &workloadapi.Workload{Namespace: "demo", Name: "greeter-1"},
	}})
	g.expect("a pod", "10.1.0.1:8080", "no service")
	g.expect("a pod in IPv6 clothes", "[::ffff:10.1.0.1]:8080", "no service")
}

func TestRouteUpdateKeepsThePictureUntilItIsWhole(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1)
	g.send(kindRoute, clusterName, routesTo(clusterName, "canary", clusterName))
	if got := g.picture(vip, "/x/"); got != "1" {
		t.Errorf("before the canary is known /x/ goes to %q, want 1", got)
	}
	g.sendCluster("canary", 7)
	if got := g.picture(vip, "/x/"); got != "7" {
		t.Errorf("/x/ goes to %q, want 7", got)
	}
	g.expect("the rest", vip, "1")

	g.send(kindRoute, clusterName, routesTo(clusterName, "canary"))
	g.expect("all to the canary", vip, "7")
	g.expectSubs("the old cluster is let go", "A /10.96.0.10", "R "+clusterName, "C canary", "E canary")

	g.send(kindRoute, clusterName, routesTo(clusterName, "missing"))
	g.expect("not known yet", vip, "7")
	g.send(kindCluster, "missing", nil)
	g.send(kindEndpoints, "missing", nil)
	g.expect("known not to exist", vip, "no cluster")
}

func TestEndpointsKeepTheirLoad(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1, 2)
	pick := func() *balance.Endpoint {
		c, _ := g.s.snapshot.Cluster(clusterName)
		for i := range c.endpoints {
			if c.endpoints[i].Addr().Addr().As4()[3] == 1 {
				return c.endpoints[i].Endpoint
			}
		}
		return nil
	}
	first := pick()
	first.Acquire()
	g.send(kindEndpoints, clusterName, members(clusterName, 3, 1))
	if pick() != first || pick().Active() != 1 {
		t.Error("the endpoint that stayed is another object")
	}
	g.send(kindEndpoints, clusterName, members(clusterName, 3))
	g.send(kindEndpoints, clusterName, members(clusterName, 1))
	if pick() == first {
		t.Error("the endpoint that went was remembered")
	}
	if n := len(g.s.members); n != 1 {
		t.Errorf("%d endpoints are registered, want 1", n)
	}
}

func TestHealth(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1, -2)
	g.expect("draining ones are left alone", vip, "1")
	g.send(kindEndpoints, clusterName, members(clusterName, -1, -2))
	g.expect("but when there is no other", vip, "1 2")
	sick := members(clusterName, 1)
	sick.Endpoints[0].LbEndpoints[0].HealthStatus = xdsapi.HealthStatus_UNHEALTHY
	g.send(kindEndpoints, clusterName, sick)
	g.expect("unhealthy ones are not used", vip, "")
}

func TestDeletion(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1)
	g.send(kindEndpoints, clusterName, nil)
	g.expect("endpoints gone first", vip, "no cluster")
	g.send(kindRoute, clusterName, nil)
	g.expect("routes gone", vip, "no service")
	g.send(kindAddress, "/10.96.0.10", nil)
	g.send(kindCluster, clusterName, nil)
	g.expect("all gone", vip, "no service")
	g.expectSubs("all gone", "A /10.96.0.10")

	g.ask(vip)
	g.sendService(2)
	g.expect("it is there again", vip, "unknown")
	g.ask(vip)
	g.sendService(2)
	g.expect("it is there again, and asked for", vip, "2")
}

func TestAddressChangesHands(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1)
	other := &workloadapi.Address{Type: &workloadapi.Address_Service{Service: &workloadapi.Service{
		Hostname: "other.demo.svc.cluster.local", Ports: []*workloadapi.Port{{ServicePort: 80}},
	}}}
	g.send(kindAddress, "/10.96.0.10", other)
	g.expect("never to the service before", vip, "unknown")
	name := contract.ClusterName("other.demo.svc.cluster.local", 80)
	g.send(kindRoute, name, routesTo(name, name))
	g.sendCluster(name, 9)
	g.expect("the other", vip, "9")
}

func TestNack(t *testing.T) {
	regex := routesTo(clusterName, clusterName)
	regex.VirtualHosts[0].Routes[0].Match.ProtoReflect().SetUnknown([]byte{0x52, 0x00}) // field 10, safe_regex
	twice := members(clusterName, 1, 1)
	tests := []struct {
		name string
		kind kind
		res  string
		bad  proto.Message
		want string
	}{
		{"route condition", kindRoute, clusterName, regex, "field 10 of RouteMatch is not supported"},
		{"route without cluster", kindRoute, clusterName, routesTo(clusterName, ""), "the action is not supported"},
		{"another name", kindRoute, clusterName, routesTo("x", "x"), `its own name is "x"`},
		{"cluster type", kindCluster, clusterName, &xdsapi.Cluster{Name: clusterName}, "discovery type STATIC is not supported"},
		{"endpoint twice", kindEndpoints, clusterName, twice, "endpoint 10.1.0.1:8080 is given twice"},
		{"endpoint address", kindEndpoints, clusterName, badEndpoint(), `endpoint address "nonsense" is malformed`},
		{"neither service nor workload", kindAddress, "/10.96.0.10", &workloadapi.Address{}, "neither a service nor a workload"},
		{"port", kindAddress, "/10.96.0.10", addressOf(70000), "port 70000 is out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGame(t)
			g.ask(vip)
			g.sendService(1)
			g.send(tt.kind, tt.res, tt.bad)
			g.expect("the last good", vip, "1")
			if len(g.nacks) != 1 || !strings.Contains(g.nacks[0], tt.want) || !strings.Contains(g.nacks[0], tt.res) {
				t.Errorf("NACKs %q, want one with %q that names %q", g.nacks, tt.want, tt.res)
			}
			g.sendService(2)
			g.expect("and on it goes", vip, "2")
		})
	}
}

func badEndpoint() *xdsapi.ClusterLoadAssignment {
	m := members(clusterName, 1)
	m.Endpoints[0].LbEndpoints[0].Endpoint.Address.SocketAddress.Address = "nonsense"
	return m
}

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
