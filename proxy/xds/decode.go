// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/workloadapi"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/proxy/route"
)

func decodeAddress(b []byte) (*addressValue, error) {
	var a workloadapi.Address
	if err := proto.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("decode Address: %w", err)
	}
	switch t := a.GetType().(type) {
	case *workloadapi.Address_Service:
		return serviceAddress(t.Service)
	case *workloadapi.Address_Workload:
		return &addressValue{workload: t.Workload.GetNamespace() + "/" + t.Workload.GetName()}, nil
	default:
		return nil, errors.New("it is neither a service nor a workload")
	}
}

func serviceAddress(s *workloadapi.Service) (*addressValue, error) {
	if s.GetHostname() == "" {
		return nil, errors.New("the service has no hostname")
	}
	out := &addressValue{host: s.GetHostname(), ports: make(map[uint16]bool, len(s.GetPorts()))}
	for _, p := range s.GetPorts() {
		port, err := port(p.GetServicePort())
		if err != nil {
			return nil, err
		}
		out.ports[port] = true
	}
	return out, nil
}

func decodeRoutes(name string, b []byte) (*routesValue, error) {
	var rc xdsapi.RouteConfiguration
	if err := proto.Unmarshal(b, &rc); err != nil {
		return nil, fmt.Errorf("decode RouteConfiguration: %w", err)
	}
	if rc.GetName() != name {
		return nil, fmt.Errorf("its own name is %q", rc.GetName())
	}
	out := &routesValue{}
	var hosts []route.Host
	for _, vh := range rc.GetVirtualHosts() {
		h := route.Host{Domains: vh.GetDomains()}
		for _, r := range vh.GetRoutes() {
			rule, err := decodeRule(r)
			if err != nil {
				return nil, fmt.Errorf("virtual host %q, route %q: %w", vh.GetName(), r.GetName(), err)
			}
			h.Rules = append(h.Rules, rule)
			if !slices.Contains(out.clusters, rule.Route.Cluster) {
				out.clusters = append(out.clusters, rule.Route.Cluster)
			}
		}
		hosts = append(hosts, h)
	}
	table, err := route.NewTable(hosts...)
	if err != nil {
		return nil, err
	}
	out.table = table
	return out, nil
}

// decodeRule refuses conditions that it does not know: one that is overlooked
// would send traffic where it must not go. Unknown policies (a timeout, say) are
// let be, so that a newer control plane can serve an older proxy.
func decodeRule(r *xdsapi.Route) (route.Rule, error) {
	out := route.Rule{Route: route.Route{Name: r.GetName(), Cluster: r.GetRoute().GetCluster()}}
	if out.Route.Cluster == "" {
		return out, errors.New("the action is not supported (supported: route to one cluster)")
	}
	m := r.GetMatch()
	if err := onlyKnown(m); err != nil {
		return out, err
	}
	switch p := m.GetPathSpecifier().(type) {
	case *xdsapi.RouteMatch_Prefix:
		out.Prefix = p.Prefix
	case *xdsapi.RouteMatch_Path:
		out.Path = p.Path
	default:
		return out, errors.New("the path match is not supported (supported: prefix, path)")
	}
	for _, h := range m.GetHeaders() {
		if err := errors.Join(onlyKnown(h), onlyKnown(h.GetStringMatch())); err != nil {
			return out, fmt.Errorf("header %q: %w", h.GetName(), err)
		}
		method := h.GetStringMatch().GetExact()
		if h.GetName() != ":method" || method == "" || out.Method != "" {
			return out, fmt.Errorf("match on header %q is not supported (supported: one exact :method)", h.GetName())
		}
		out.Method = method
	}
	return out, nil
}

// onlyKnown refuses fields that this proxy does not know.
func onlyKnown(m proto.Message) error {
	unknown := m.ProtoReflect().GetUnknown()
	if len(unknown) == 0 {
		return nil
	}
	number, _, _ := protowire.ConsumeTag(unknown)
	return fmt.Errorf("field %d of %s is not supported", number, m.ProtoReflect().Descriptor().Name())
}

func decodeCluster(name string, b []byte) (*clusterValue, error) {
	var c xdsapi.Cluster
	if err := proto.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("decode Cluster: %w", err)
	}
	if c.GetName() != name {
		return nil, fmt.Errorf("its own name is %q", c.GetName())
	}
	if c.GetType() != xdsapi.Cluster_EDS {
		return nil, fmt.Errorf("discovery type %v is not supported (supported: EDS)", c.GetType())
	}
	if s := c.GetEdsClusterConfig().GetServiceName(); s != "" && s != name {
		return nil, fmt.Errorf("EDS service name %q is not supported (supported: none, or the cluster's name)", s)
	}
	return &clusterValue{}, nil
}

type decodedEndpoint struct {
	addr     netip.AddrPort
	draining bool
	zone     string
}

func decodeEndpoints(name string, b []byte) ([]decodedEndpoint, error) {
	var cla xdsapi.ClusterLoadAssignment
	if err := proto.Unmarshal(b, &cla); err != nil {
		return nil, fmt.Errorf("decode ClusterLoadAssignment: %w", err)
	}
	if cla.GetClusterName() != name {
		return nil, fmt.Errorf("its own name is %q", cla.GetClusterName())
	}
	var out []decodedEndpoint
	seen := map[netip.AddrPort]bool{}
	for _, group := range cla.GetEndpoints() {
		for _, lb := range group.GetLbEndpoints() {
			draining, use := usableHealth(lb.GetHealthStatus())
			if !use {
				continue
			}
			addr, err := socketAddress(lb.GetEndpoint().GetAddress())
			if err != nil {
				return nil, err
			}
			if seen[addr] {
				return nil, fmt.Errorf("endpoint %v is given twice", addr)
			}
			seen[addr] = true
			out = append(out, decodedEndpoint{addr: addr, draining: draining, zone: group.GetLocality().GetZone()})
		}
	}
	return out, nil
}

// usableHealth follows xDS: unknown counts as healthy.
func usableHealth(h xdsapi.HealthStatus) (draining, use bool) {
	switch h {
	case xdsapi.HealthStatus_HEALTHY, xdsapi.HealthStatus_UNKNOWN:
		return false, true
	case xdsapi.HealthStatus_DRAINING:
		return true, true
	default:
		return false, false
	}
}

func socketAddress(a *xdsapi.Address) (netip.AddrPort, error) {
	sa := a.GetSocketAddress()
	ip, err := netip.ParseAddr(sa.GetAddress())
	if err != nil || ip.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("endpoint address %q is malformed (allowed: an IP address)", sa.GetAddress())
	}
	p, err := port(sa.GetPortValue())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ip.Unmap(), p), nil
}

func port(n uint32) (uint16, error) {
	if n == 0 || n > 65535 {
		return 0, fmt.Errorf("port %d is out of range (allowed: 1 to 65535)", n)
	}
	return uint16(n), nil
}
