// SPDX-License-Identifier: Apache-2.0

// Package xds turns the model into xDS resources and serves them over Delta
// ADS. resources.go is pure; Store decides who is to be told what; Server is
// the gRPC side. Resources never depend on who asks.
package xds

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/workloadapi"
)

// connectTimeout is what proxies wait for an endpoint to accept. Within a
// cluster a SYN is answered in milliseconds; the kernel repeats a lost one
// after 1 and 3 s.
const connectTimeout = 5 * time.Second

// Ref names one resource.
type Ref struct {
	Type, Name string
}

// Update is what becomes of resources. They are immutable once handed over.
type Update struct {
	Set     map[Ref]*discoveryv3.Resource
	Removed []Ref
	// Since is when the first event behind the update arrived; zero when
	// that is not to be measured.
	Since time.Time
}

// Resources builds what the changes make of resources.
func Resources(c model.Changes) (Update, error) {
	b := builder{set: map[Ref]*discoveryv3.Resource{}}
	for _, sc := range c.Services {
		b.service(sc)
	}
	for _, e := range c.Endpoints {
		for port, endpoints := range e.Ports {
			name := contract.ClusterName(e.Service.Host, port)
			b.put(contract.TypeEndpoints, name, loadAssignment(name, endpoints))
		}
		b.balanced(e)
	}
	for ip, a := range c.Addresses {
		b.address(ip, a)
	}
	return Update{Set: b.set, Removed: b.removed}, b.err
}

type builder struct {
	set     map[Ref]*discoveryv3.Resource
	removed []Ref
	err     error // the first
}

// put encodes once; every stream sends the same bytes. The version is a hash
// of them, so it is the same in all replicas and after a restart.
func (b *builder) put(typ, name string, m proto.Message) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		if b.err == nil {
			b.err = fmt.Errorf("encode %s %q: %w", typ, name, err)
		}
		return
	}
	sum := sha256.Sum256(value)
	b.set[Ref{typ, name}] = &discoveryv3.Resource{
		Name:     name,
		Version:  base64.RawURLEncoding.EncodeToString(sum[:9]),
		Resource: &anypb.Any{TypeUrl: typ, Value: value},
	}
}

func (b *builder) service(c model.ServiceChange) {
	kept := map[string]bool{}
	if c.New != nil {
		for _, port := range c.New.Ports {
			name := contract.ClusterName(c.New.Host, port.Number)
			kept[name] = true
			b.put(contract.TypeRoute, name, routeConfiguration(name))
			b.put(contract.TypeCluster, name, cluster(name))
		}
	}
	if c.Old == nil {
		return
	}
	b.unbalanced(c)
	for _, port := range c.Old.Ports {
		name := contract.ClusterName(c.Old.Host, port.Number)
		if kept[name] {
			continue
		}
		for _, typ := range []string{contract.TypeRoute, contract.TypeCluster, contract.TypeEndpoints} {
			b.removed = append(b.removed, Ref{typ, name})
		}
	}
}

func (b *builder) address(ip netip.Addr, a model.Address) {
	name := contract.AddressName(ip)
	switch {
	case a.Service != nil:
		b.put(contract.TypeAddress, name, &workloadapi.Address{
			Type: &workloadapi.Address_Service{Service: addressService(a.Service)},
		})
	case a.Workload != nil:
		b.put(contract.TypeAddress, name, &workloadapi.Address{
			Type: &workloadapi.Address_Workload{Workload: &workloadapi.Workload{
				Name:      a.Workload.Key.Name,
				Namespace: a.Workload.Key.Namespace,
				Addresses: [][]byte{a.Workload.Addr.AsSlice()},
			}},
		})
	default:
		b.removed = append(b.removed, Ref{contract.TypeAddress, name})
	}
}

func addressService(s *model.Service) *workloadapi.Service {
	out := &workloadapi.Service{Name: s.Key.Name, Namespace: s.Key.Namespace, Hostname: s.Host}
	for _, ip := range s.VIPs {
		out.Addresses = append(out.Addresses, &workloadapi.NetworkAddress{Address: ip.AsSlice()})
	}
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, &workloadapi.Port{ServicePort: uint32(p.Number), TargetPort: uint32(p.Target)})
	}
	return out
}

// routeConfiguration sends everything to the cluster of the same name. The
// authority is not matched: the service was decided by the original destination.
func routeConfiguration(name string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name: name,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    name,
			Domains: []string{"*"},
			Routes: []*routev3.Route{{
				Name:  "default",
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
				}},
			}},
		}},
	}
}

func cluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LbPolicy:             clusterv3.Cluster_LEAST_REQUEST,
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ResourceApiVersion:    corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		}},
	}
}

// loadAssignment groups endpoints by zone, in the order of the zones' names.
func loadAssignment(name string, endpoints []model.Endpoint) *endpointv3.ClusterLoadAssignment {
	byZone := map[string]*endpointv3.LocalityLbEndpoints{}
	for _, e := range endpoints {
		group := byZone[e.Zone]
		if group == nil {
			group = &endpointv3.LocalityLbEndpoints{}
			if e.Zone != "" {
				group.Locality = &corev3.Locality{Zone: e.Zone}
			}
			byZone[e.Zone] = group
		}
		group.LbEndpoints = append(group.LbEndpoints, lbEndpoint(e))
	}
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, zone := range slices.Sorted(maps.Keys(byZone)) {
		out.Endpoints = append(out.Endpoints, byZone[zone])
	}
	return out
}

func lbEndpoint(e model.Endpoint) *endpointv3.LbEndpoint {
	health := corev3.HealthStatus_HEALTHY
	if e.Health == model.Draining {
		health = corev3.HealthStatus_DRAINING
	}
	return &endpointv3.LbEndpoint{
		HealthStatus: health,
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address:       e.Addr.Addr().String(),
				PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(e.Addr.Port())},
			}}},
		}},
	}
}
