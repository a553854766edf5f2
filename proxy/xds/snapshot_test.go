// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
)

func TestNewSnapshot(t *testing.T) {
	e := balance.NewEndpoint(netip.MustParseAddrPort("10.1.0.1:8080"))
	svc := &Service{Host: host, Port: 80, Routes: route.ToCluster("c")}
	s := NewSnapshot(map[netip.AddrPort]Destination{
		netip.MustParseAddrPort("10.96.0.10:80"): {Service: svc},
		netip.MustParseAddrPort("192.0.2.1:443"): {},
	}, &Cluster{Name: "c", Picker: balance.NewP2C([]*balance.Endpoint{e}, nil)})

	tests := []struct {
		ap    string
		want  *Service
		known bool
	}{
		{"10.96.0.10:80", svc, true},
		{"[::ffff:10.96.0.10]:80", svc, true},
		{"10.96.0.10:81", nil, true},
		{"192.0.2.1:443", nil, true},
		{"192.0.2.2:443", nil, false},
	}
	for _, tt := range tests {
		d, known := s.Destination(netip.MustParseAddrPort(tt.ap))
		if d.Service != tt.want || known != tt.known {
			t.Errorf("%s: %v, %v; want %v, %v", tt.ap, d.Service, known, tt.want, tt.known)
		}
	}
	if c, ok := s.Cluster("c"); !ok || c.Name != "c" {
		t.Errorf("Cluster: %v, %v", c, ok)
	}
	if _, ok := s.Cluster("d"); ok {
		t.Error("a cluster that nobody gave is there")
	}
}

func TestDump(t *testing.T) {
	g := newGame(t)
	g.ask(vip)
	g.sendService(1, -2)
	b, err := json.Marshal(g.s.snapshot.Dump())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"addresses":[{"address":"10.96.0.10","services":[{"host":"greeter.demo.svc.cluster.local","port":80}]}],` +
		`"clusters":[{"name":"outbound|80||greeter.demo.svc.cluster.local","endpoints":[` +
		`{"address":"10.1.0.1:8080","active":0},{"address":"10.1.0.2:8080","active":0,"draining":true}]}]}`
	if string(b) != want {
		t.Errorf("Dump:\n%s\nwant\n%s", b, want)
	}
	b, err = json.Marshal((&Snapshot{}).Dump())
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("Dump of nothing: %s, %v", b, err)
	}
}

func TestTable(t *testing.T) {
	var zero table[int, string]
	if _, ok := zero.get(1); ok {
		t.Error("the zero table has something")
	}
	first := zero.with(map[int]string{1: "a", 2: "b"})
	second := first.with(map[int]string{1: "A", 3: "c"}, 2, 9)
	for k, want := range map[int]string{1: "a", 2: "b", 3: ""} {
		if got, _ := first.get(k); got != want {
			t.Errorf("first[%d] is %q, want %q", k, got, want)
		}
	}
	for k, want := range map[int]string{1: "A", 2: "", 3: "c"} {
		if got, _ := second.get(k); got != want {
			t.Errorf("second[%d] is %q, want %q", k, got, want)
		}
	}
	if first.len != 2 || second.len != 2 {
		t.Errorf("lengths %d and %d, want 2 and 2", first.len, second.len)
	}
}

// BenchmarkEndpointUpdate is one endpoint change in a proxy that knows 10,000
// endpoints: decoding, the new picker and the new snapshot.
func BenchmarkEndpointUpdate(b *testing.B) {
	for _, services := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%d_services_of_%d", services, 10_000/services), func(b *testing.B) {
			s, responses := benchState(b, services, 10_000/services)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.apply(responses[i%len(responses)]); err != nil {
					b.Fatal(err)
				}
				s.publish()
				s.next()
			}
		})
	}
}

func benchState(b *testing.B, services, perService int) (*state, []*xdsapi.DeltaDiscoveryResponse) {
	b.Helper()
	g := &game{t: &testing.T{}, s: newState(), subs: map[ref]bool{}}
	var responses []*xdsapi.DeltaDiscoveryResponse
	for i := range services {
		ip := netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})
		name := contract.ClusterName(host, uint16(i+1))
		g.s.want(netip.AddrPortFrom(ip, uint16(i+1)), epoch)
		g.send(kindAddress, contract.AddressName(ip), addressOf(uint32(i+1)))
		g.send(kindRoute, name, routesTo(name, name))
		g.send(kindCluster, name, edsCluster(name))
		all := members(name)
		for j := range perService {
			m := members(name, j).Endpoints[0].LbEndpoints[0]
			m.Endpoint.Address.SocketAddress.Address = fmt.Sprintf("10.%d.%d.%d", 1+i>>8, i&255, j)
			all.Endpoints[0].LbEndpoints = append(all.Endpoints[0].LbEndpoints, m)
		}
		g.send(kindEndpoints, name, all)
		all.Endpoints[0].LbEndpoints = all.Endpoints[0].LbEndpoints[1:]
		responses = append(responses, response(b, name, all))
	}
	if n := len(g.s.members); n != 10_000 {
		b.Fatalf("%d endpoints, want 10,000", n)
	}
	return g.s, responses
}

func response(b *testing.B, name string, m proto.Message) *xdsapi.DeltaDiscoveryResponse {
	b.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return &xdsapi.DeltaDiscoveryResponse{
		TypeUrl: kindEndpoints.typeURL(),
		Resources: []*xdsapi.Resource{{
			Name: name, Version: "2", Resource: &xdsapi.Any{TypeUrl: kindEndpoints.typeURL(), Value: value},
		}},
	}
}

// BenchmarkDestination is what the data path pays for a request.
func BenchmarkDestination(b *testing.B) {
	s, _ := benchState(b, 1000, 10)
	ap := netip.MustParseAddrPort("10.96.0.7:8")
	name := contract.ClusterName(host, 8)
	b.ReportAllocs()
	for b.Loop() {
		if d, known := s.snapshot.Destination(ap); !known || d.Service == nil {
			b.Fatal("unknown")
		}
		if _, ok := s.snapshot.Cluster(name); !ok {
			b.Fatal("no cluster")
		}
	}
}
