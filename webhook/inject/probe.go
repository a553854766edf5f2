// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/internal/contract"
)

// probeWarnings tell of TCP probes of captured ports. The kubelet's connection
// is accepted by the kernel for the proxy, so such a probe succeeds whether the
// application listens or not (docs/adr/0005-probes.md). All other probes get an
// answer of the application, or none.
func probeWarnings(pod *corev1.Pod, f form) []string {
	if !f.redirects() {
		return nil
	}
	var out []string
	for _, l := range listsOf(pod) {
		for _, c := range l.containers {
			for _, p := range []struct {
				name  string
				probe *corev1.Probe
			}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
				if p.probe == nil || p.probe.TCPSocket == nil || p.probe.TCPSocket.Host != "" || !f.capturesInbound(portOf(c, p.probe.TCPSocket.Port)) {
					continue
				}
				out = append(out, fmt.Sprintf("spec.%s[%s].%s connects by TCP alone: the proxy accepts, so it succeeds even when the application does not listen (use httpGet, grpc or exec, or %s)",
					l.name, c.Name, p.name, contract.AnnotationExcludeInboundPorts))
			}
		}
	}
	return out
}

// portOf is the number that a probe's port means in a container; 0 is none.
func portOf(c corev1.Container, port intstr.IntOrString) int {
	if port.Type == intstr.Int {
		return port.IntValue()
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort)
		}
	}
	return 0
}

// capturesInbound reports whether connections from outside to a port of the pod
// go through the proxy.
func (f form) capturesInbound(port int) bool {
	in := func(list string) bool {
		ranges, _ := contract.ParsePorts(list) // it was written from parsed ones
		return slices.ContainsFunc(ranges, func(r contract.PortRange) bool { return int(r.First) <= port && port <= int(r.Last) })
	}
	include := f.Capture.IncludeInboundPorts
	return (strings.TrimSpace(include) == "*" || in(include)) && !in(f.Capture.ExcludeInboundPorts)
}
