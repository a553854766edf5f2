// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/xdsapi"
)

// FuzzApply feeds any bytes as a response to a client that knows a service. It
// must not crash, must answer each response that it understands once, and must
// keep the picture whole: a service that is published has a cluster for each
// route, or the server said that there is none.
func FuzzApply(f *testing.F) {
	f.Add(seed(f, kindAddress, "/10.96.0.10", addressOf(80, 90)))
	f.Add(seed(f, kindRoute, clusterName, routesTo(clusterName, "canary", clusterName)))
	f.Add(seed(f, kindCluster, clusterName, edsCluster(clusterName)))
	f.Add(seed(f, kindEndpoints, clusterName, members(clusterName, 1, -2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var resp xdsapi.DeltaDiscoveryResponse
		if proto.Unmarshal(data, &resp) != nil {
			return
		}
		g := newGame(t)
		g.ask(vip)
		g.sendService(1)
		k, known := kindOf(resp.GetTypeUrl())
		err := g.s.apply(&resp)
		if known && len(g.s.outbox[k].acks) != 1 {
			t.Fatalf("%d answers, want 1", len(g.s.outbox[k].acks))
		}
		if !known && err == nil {
			t.Fatal("a type that nobody asked for was accepted")
		}
		g.settle()
		checkWhole(t, g.s)
		g.s.forget(g.s.demands[netip.MustParseAddr("10.96.0.10")])
		g.settle()
		if len(g.s.members) != 0 || len(g.subs) != 0 || g.s.snapshot.clusters.len != 0 {
			t.Fatalf("after forgetting all there are %d endpoints, %d subscriptions, %d clusters",
				len(g.s.members), len(g.subs), g.s.snapshot.clusters.len)
		}
	})
}

func checkWhole(t *testing.T, s *state) {
	t.Helper()
	for _, d := range s.demands {
		for _, p := range d.ports {
			for _, dep := range p.deps {
				if p.service != nil && s.get(dep) == nil {
					t.Fatalf("service %s is published without %v", p.service.Host, dep)
				}
			}
		}
	}
}

func seed(f *testing.F, k kind, name string, m proto.Message) []byte {
	f.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	b, err := proto.Marshal(&xdsapi.DeltaDiscoveryResponse{
		TypeUrl: k.typeURL(), Nonce: "1", RemovedResources: []string{clusterName},
		Resources: []*xdsapi.Resource{{Name: name, Version: "9", Resource: &xdsapi.Any{TypeUrl: k.typeURL(), Value: value}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	return b
}
