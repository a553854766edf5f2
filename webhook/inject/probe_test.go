// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// A TCP probe of a captured port gets a warning; no other probe does, and no
// port that is left alone.
func TestProbeWarnings(t *testing.T) {
	tcp := func(port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}
	}
	tests := []struct {
		name        string
		annotations map[string]string
		probe       *corev1.Probe
		warned      bool
	}{
		{name: "by number", probe: tcp(intstr.FromInt32(8080)), warned: true},
		{name: "by name", probe: tcp(intstr.FromString("http")), warned: true},
		{name: "of another host", probe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: "192.0.2.1", Port: intstr.FromInt32(8080)}}}},
		{name: "HTTP", probe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8080)}}}},
		{name: "excluded", annotations: map[string]string{contract.AnnotationExcludeInboundPorts: "8000-8080"}, probe: tcp(intstr.FromInt32(8080))},
		{name: "excluded by name", annotations: map[string]string{contract.AnnotationExcludeInboundPorts: "8080"}, probe: tcp(intstr.FromString("http"))},
		{name: "not included", annotations: map[string]string{contract.AnnotationIncludeInboundPorts: "80"}, probe: tcp(intstr.FromInt32(8080))},
		{name: "included", annotations: map[string]string{contract.AnnotationIncludeInboundPorts: "80,8000-9000"}, probe: tcp(intstr.FromInt32(8080)), warned: true},
		{name: "not captured", annotations: map[string]string{contract.AnnotationInterceptionMode: "none"}, probe: tcp(intstr.FromInt32(8080))},
	}
	for _, tt := range tests {
		for field, set := range map[string]func(*corev1.Container){
			"livenessProbe":  func(c *corev1.Container) { c.LivenessProbe = tt.probe },
			"readinessProbe": func(c *corev1.Container) { c.ReadinessProbe = tt.probe },
			"startupProbe":   func(c *corev1.Container) { c.StartupProbe = tt.probe },
		} {
			pod := simplePod()
			pod.Annotations = tt.annotations
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
			set(&pod.Spec.Containers[0])
			d, err := inject.Decide(pod, namespace(), options())
			if err != nil || len(d.Warnings) > 0 != tt.warned {
				t.Errorf("%s, %s: warnings %q, %v; want some: %v", tt.name, field, d.Warnings, err, tt.warned)
			}
			if tt.warned && !strings.Contains(strings.Join(d.Warnings, ""), "spec.containers[app]."+field) {
				t.Errorf("%s: warnings %q do not name %s", tt.name, d.Warnings, field)
			}
		}
	}
}
