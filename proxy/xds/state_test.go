// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/workloadapi"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/proxy/balance"
)

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
