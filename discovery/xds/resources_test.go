// SPDX-License-Identifier: Apache-2.0

package xds_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/discovery/xds"
	"github.com/shuntmesh/shunt/internal/balanceapi"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/workloadapi"
)

var update = flag.Bool("update", false, "rewrite golden files")

func greeter(ports ...model.Port) *model.Service {
	return &model.Service{
		Key:  model.Key{Namespace: "demo", Name: "greeter"},
		Host: "greeter.demo.svc.cluster.local",
		VIPs: []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00::10")}, Ports: ports,
	}
}

var (
	httpPort = model.Port{Name: "http", Number: 80, Target: 8080}
	grpcPort = model.Port{Name: "grpc", Number: 90}
)

func TestResources(t *testing.T) {
	svc := greeter(httpPort, grpcPort)
	atConnect := grpcPort
	atConnect.AtConnect = true
	balanced := greeter(httpPort, atConnect)
	endpoint := func(addr string, h model.Health, zone string) model.Endpoint {
		return model.Endpoint{Addr: netip.MustParseAddrPort(addr), Health: h, Zone: zone}
	}
	tests := map[string]model.Changes{
		"service": {
			Services: []model.ServiceChange{{New: svc}},
			Endpoints: []model.ServiceEndpoints{{Service: svc, Ports: map[uint16][]model.Endpoint{
				80: {
					endpoint("10.1.0.1:8080", model.Ready, "b"),
					endpoint("10.1.0.2:8080", model.Draining, "a"),
					endpoint("10.1.0.3:8080", model.Ready, ""),
					endpoint("[fd01::1]:8080", model.Ready, "b"),
				},
				90: nil,
			}}},
			Addresses: map[netip.Addr]model.Address{
				svc.VIPs[0]: {Service: svc},
				svc.VIPs[1]: {Service: svc},
			},
		},
		"workload": {Addresses: map[netip.Addr]model.Address{
			netip.MustParseAddr("10.1.0.1"): {Workload: &model.Workload{
				Key: model.Key{Namespace: "demo", Name: "greeter-1"}, Addr: netip.MustParseAddr("10.1.0.1"),
			}},
			netip.MustParseAddr("10.1.0.2"): {},
		}},
		"balanced": {
			Services: []model.ServiceChange{{New: balanced}},
			Endpoints: []model.ServiceEndpoints{{Service: balanced, Ports: map[uint16][]model.Endpoint{
				80: nil,
				90: {
					endpoint("10.1.0.1:9090", model.Ready, "b"),
					endpoint("10.1.0.2:9090", model.Draining, ""),
					endpoint("[fd01::1]:9090", model.Ready, ""),
				},
			}, Unready: map[uint16][]netip.AddrPort{90: {netip.MustParseAddrPort("10.1.0.3:9090")}}}},
		},
		"balanced-no-more": {Services: []model.ServiceChange{{Old: balanced, New: svc}}},
		"balanced-removed": {Services: []model.ServiceChange{{Old: balanced}}},
		"port-removed":     {Services: []model.ServiceChange{{Old: svc, New: greeter(grpcPort)}}},
		"service-removed":  {Services: []model.ServiceChange{{Old: svc}}},
		"came-and-went":    {Services: []model.ServiceChange{{}}},
	}
	for name, changes := range tests {
		t.Run(name, func(t *testing.T) {
			u, err := xds.Resources(changes)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, updateText(t, u))
		})
	}
}

// updateText is an update in a form that people can read and that does not
// change from run to run.
func updateText(t *testing.T, u xds.Update) []byte {
	t.Helper()
	var out bytes.Buffer
	order := func(a, b xds.Ref) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name)) }
	for _, ref := range slices.SortedFunc(maps.Keys(u.Set), order) {
		r := u.Set[ref]
		out.WriteString("set " + ref.Type + " " + ref.Name + " version " + r.GetVersion() + "\n")
		m := map[string]proto.Message{
			contract.TypeAddress:   &workloadapi.Address{},
			contract.TypeRoute:     &routev3.RouteConfiguration{},
			contract.TypeCluster:   &clusterv3.Cluster{},
			contract.TypeEndpoints: &endpointv3.ClusterLoadAssignment{},
			contract.TypeBalanced:  &balanceapi.BalancedPort{},
		}[ref.Type]
		if err := proto.Unmarshal(r.GetResource().GetValue(), m); err != nil {
			t.Fatal(err)
		}
		text, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		// protojson varies its spaces on purpose.
		if err := json.Indent(&out, text, "", "  "); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	for _, ref := range slices.SortedFunc(slices.Values(u.Removed), order) {
		out.WriteString("remove " + ref.Type + " " + ref.Name + "\n")
	}
	return out.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", file, diff)
	}
}
