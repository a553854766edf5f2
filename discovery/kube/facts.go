// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/shuntmesh/shunt/discovery/model"
)

// service reads what callers see of a Service: its cluster IPs, both families.
// ExternalName and headless services have none; external and load balancer IPs
// are not looked at, since from inside the cluster they may lead elsewhere. An
// error names what was left out; the rest is good.
func service(o *corev1.Service, clusterDomain string) (*model.Service, error) {
	s := &model.Service{
		Key:  model.Key{Namespace: o.Namespace, Name: o.Name},
		Host: o.Name + "." + o.Namespace + ".svc." + clusterDomain,
	}
	if o.Spec.Type == corev1.ServiceTypeExternalName {
		return s, nil
	}
	vips, errVIPs := clusterIPs(o.Spec)
	s.VIPs = vips
	var errs []error
	for _, p := range o.Spec.Ports {
		if !isTCP(&p.Protocol) {
			continue
		}
		number, err := portNumber(p.Port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		port := model.Port{Name: p.Name, Number: number}
		if target, err := portNumber(p.TargetPort.IntVal); err == nil {
			port.Target = target
		}
		s.Ports = append(s.Ports, port)
	}
	slices.SortFunc(s.Ports, func(a, b model.Port) int { return cmp.Compare(a.Number, b.Number) })
	return s, errors.Join(append(errs, errVIPs)...)
}

func clusterIPs(spec corev1.ServiceSpec) ([]netip.Addr, error) {
	texts := spec.ClusterIPs
	if len(texts) == 0 && spec.ClusterIP != "" {
		texts = []string{spec.ClusterIP}
	}
	var out []netip.Addr
	for _, text := range texts {
		if text == corev1.ClusterIPNone {
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return out, fmt.Errorf("read cluster IP: %w", err)
		}
		out = append(out, ip)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}

// slice reads an EndpointSlice. Slices of FQDNs have no addresses to dial. An
// error names what was left out; the rest is good.
func slice(o *discoveryv1.EndpointSlice) (*model.Slice, error) {
	s := &model.Slice{
		Key:     model.Key{Namespace: o.Namespace, Name: o.Name},
		Service: o.Labels[discoveryv1.LabelServiceName],
	}
	if o.AddressType == discoveryv1.AddressTypeFQDN {
		return s, nil
	}
	var errs []error
	for _, p := range o.Ports {
		if p.Port == nil || !isTCP(p.Protocol) {
			continue // without a number all ports are meant, which no service of ours can use
		}
		number, err := portNumber(*p.Port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.Ports = append(s.Ports, model.SlicePort{Name: deref(p.Name), Number: number})
	}
	for i := range o.Endpoints {
		e, err := sliceEndpoint(o, &o.Endpoints[i])
		if err != nil {
			errs = append(errs, err)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s, errors.Join(errs...)
}

func sliceEndpoint(o *discoveryv1.EndpointSlice, in *discoveryv1.Endpoint) (model.SliceEndpoint, error) {
	out := model.SliceEndpoint{Zone: deref(in.Zone)}
	out.Health, out.Absent = health(in.Conditions)
	if ref := in.TargetRef; ref != nil && ref.Kind == "Pod" {
		out.Pod = model.Key{Namespace: cmp.Or(ref.Namespace, o.Namespace), Name: ref.Name}
	}
	var errs []error
	for _, text := range in.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			errs = append(errs, fmt.Errorf("read endpoint address %q (allowed: an IP address)", text))
			continue
		}
		out.Addrs = append(out.Addrs, ip.Unmap())
	}
	return out, errors.Join(errs...)
}

// health reads the conditions of KEP-1672. Ready unknown means ready; serving
// unknown means what ready says. A service that publishes addresses that are
// not ready has ready=true here already.
func health(c discoveryv1.EndpointConditions) (h model.Health, absent bool) {
	ready := c.Ready == nil || *c.Ready
	serving := ready
	if c.Serving != nil {
		serving = *c.Serving
	}
	switch {
	case ready:
		return model.Ready, false
	case serving && deref(c.Terminating):
		return model.Draining, false
	default:
		return model.Ready, true
	}
}

// isTCP reads a protocol; the API's default is TCP.
func isTCP(p *corev1.Protocol) bool {
	return p == nil || *p == "" || *p == corev1.ProtocolTCP
}

func portNumber(n int32) (uint16, error) {
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("port %d is out of range (allowed: 1 to 65535)", n)
	}
	return uint16(n), nil
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
