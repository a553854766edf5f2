// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestLevels(t *testing.T) {
	const key, alias = contract.AnnotationExcludeOutboundPorts, istioTraffic + "excludeOutboundPorts"
	tests := []struct {
		name           string
		namespace, pod map[string]string
		want           string
	}{
		{name: "nobody"},
		{name: "the namespace", namespace: map[string]string{key: "1"}, want: "1"},
		{name: "the pod beats it", namespace: map[string]string{key: "1"}, pod: map[string]string{key: "2"}, want: "2"},
		{name: "even with nothing", namespace: map[string]string{key: "1"}, pod: map[string]string{key: ""}},
		{name: "even by an alias", namespace: map[string]string{key: "1"}, pod: map[string]string{alias: "2"}, want: "2"},
		{name: "ours beats the alias, even a broken one", pod: map[string]string{key: "1", alias: "nonsense"}, want: "1"},
		{name: "added", namespace: map[string]string{key: "1"}, pod: map[string]string{key: "+2"}, want: "1,2"},
		{name: "added to nothing", pod: map[string]string{key: " + 2, 3"}, want: "2,3"},
		{name: "put in its place", namespace: map[string]string{key: "1"}, pod: map[string]string{key: "=2"}, want: "2"},
	}
	for _, tt := range tests {
		s, _, err := Read(Level{Of: "namespace shop", Annotations: tt.namespace}, Level{Annotations: tt.pod})
		if err != nil || s.Capture.ExcludeOutboundPorts != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, s.Capture.ExcludeOutboundPorts, err, tt.want)
		}
	}
}

// The proxy's own ports are excluded whatever is said.
func TestProxyPortsStayExcluded(t *testing.T) {
	for _, value := range []string{"", "=", "=8081", "8081", "+8081"} {
		s, _, err := Read(Level{Annotations: map[string]string{contract.AnnotationExcludeInboundPorts: value}})
		if err != nil || !strings.HasPrefix(s.Capture.ExcludeInboundPorts, proxyPorts) {
			t.Errorf("%q: %q, %v", value, s.Capture.ExcludeInboundPorts, err)
		}
	}
}

func TestIstioConfiguration(t *testing.T) {
	s, warnings, err := Read(Level{Annotations: map[string]string{
		istioConfig:                        "holdApplicationUntilProxyStarts: false\nconcurrency: 2\nterminationDrainDuration: 20s\ntracing: {sampling: 10}",
		"sidecar.istio.io/proxyImage":      "istio/proxyv2:1.27",
		"sidecar.istio.io/status":          "{}",
		"sidecar.istio.io/inject":          "true",
		"example.com/sidecar.istio.io":     "x",
		contract.AnnotationProxyLogLevel:   "info",
		"sidecar.istio.io/logLevel":        "critical", // ours beats it
		contract.AnnotationDrainTimeout:    "10s",
		"prometheus.istio.io/merge-metric": "true",
	}})
	if err != nil || s.Hold || s.Concurrency != 2 || s.DrainTimeout != 10*time.Second || s.LogLevel != "info" {
		t.Errorf("settings %+v, %v", s, err)
	}
	want := []string{"prometheus.istio.io/merge-metric", "field tracing of annotation proxy.istio.io/config", "sidecar.istio.io/proxyImage"}
	slices.Sort(want)
	for _, w := range want {
		if !slices.ContainsFunc(warnings, func(s string) bool { return strings.Contains(s, w) }) {
			t.Errorf("no warning of %s in %q", w, warnings)
		}
	}
	if len(warnings) != len(want) {
		t.Errorf("warnings %q, want one of each of %q", warnings, want)
	}
	_, _, err = Read(Level{Annotations: map[string]string{istioTraffic + "kubevirtInterfaces": "eth1"}})
	if err == nil || !strings.Contains(err.Error(), "allowed: traffic.sidecar.istio.io/includeInboundPorts") {
		t.Errorf("interfaces of virtual machines: %v, want a refusal", err)
	}
}

func FuzzRead(f *testing.F) {
	for key, value := range good() {
		f.Add(key, value)
	}
	f.Add(istioConfig, "concurrency: 2\nproxyMetadata: {A: b}")
	f.Add(istioSidecar+"proxyCPU", "1e3")
	f.Fuzz(func(t *testing.T, key, value string) {
		s, _, err := Read(Level{Of: "namespace shop"}, Level{Annotations: map[string]string{key: value}})
		if err == nil {
			again, _, err := Read(Level{Of: "namespace shop", Annotations: map[string]string{key: value}}, Level{})
			if diff := cmp.Diff(s, again); err != nil || diff != "" {
				t.Errorf("on the namespace %q: %q is read otherwise: %v (-pod +namespace):\n%s", key, value, err, diff)
			}
			return
		}
		if !strings.Contains(err.Error(), key) || !saysAllowed(err) {
			t.Errorf("error %q does not name the key %q and what is allowed", err, key)
		}
	})
}
