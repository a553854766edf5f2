// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

func allRows() []row {
	var rows []row
	for _, g := range new(Settings).table() {
		rows = append(rows, g.rows...)
	}
	return rows
}

// good is a value for every annotation. A new row has to be put here.
func good() map[string]string {
	return map[string]string{
		contract.AnnotationIncludeInboundPorts:   "80,8000-8010",
		contract.AnnotationExcludeInboundPorts:   "8081",
		contract.AnnotationIncludeOutboundPorts:  "443",
		contract.AnnotationExcludeOutboundPorts:  "5432",
		contract.AnnotationIncludeOutboundRanges: "10.0.0.0/8,fd00::/8",
		contract.AnnotationExcludeOutboundRanges: "192.0.2.1",
		contract.AnnotationExcludeInterfaces:     "net1,eth2",
		contract.AnnotationInterceptionMode:      "none",
		contract.AnnotationInterceptionBackend:   "iptables",
		contract.AnnotationNativeSidecar:         "false",
		contract.AnnotationHoldApplication:       "false",
		contract.AnnotationDrainTimeout:          "45s",
		contract.AnnotationTerminationDelay:      "0s",
		contract.AnnotationMergeMetrics:          "true",
		contract.AnnotationProxyCPURequest:       "50m",
		contract.AnnotationProxyCPULimit:         "2",
		contract.AnnotationProxyMemoryRequest:    "64Mi",
		contract.AnnotationProxyMemoryLimit:      "1Gi",
		contract.AnnotationProxyLogLevel:         "debug",
		contract.AnnotationProxyConcurrency:      "4",
		contract.AnnotationProxyEnv:              `{"GODEBUG": "gctrace=1"}`,
		contract.AnnotationProxyImage:            "registry.example.com:5000/mesh/dataplane@sha256:0123456789abcdef",
		contract.AnnotationProxyImagePullPolicy:  "Never",
	}
}

// Every annotation is read where it should be, under each of its names, on the
// pod and on the namespace alike; and it changes something.
func TestEveryRowIsRead(t *testing.T) {
	nothing, _, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range allRows() {
		value, known := good()[r.key]
		if !known {
			t.Errorf("%s has no good value in this test", r.key)
			continue
		}
		want, _, err := Read(Level{Annotations: map[string]string{r.key: value}})
		if err != nil || cmp.Equal(want, nothing) {
			t.Errorf("%s: %q changes nothing, error %v", r.key, value, err)
		}
		for _, name := range append([]string{r.key}, r.aliases...) {
			annotations := map[string]string{name: value}
			if key, field, isField := strings.Cut(name, ": "); isField {
				annotations = map[string]string{key: field + ": " + value}
			}
			for _, levels := range [][]Level{{{Annotations: annotations}}, {{Of: "namespace shop", Annotations: annotations}, {}}} {
				got, warnings, err := Read(levels...)
				if diff := cmp.Diff(want, got); err != nil || diff != "" || len(warnings) > 0 {
					t.Errorf("%s of %q: %v, warnings %q (-own key +got):\n%s", name, levels[0].Of, err, warnings, diff)
				}
			}
		}
	}
}

// A bad value is refused with the key, the value and what is allowed, whatever
// the annotation; those that are listed are documented as accepted.
func TestBadValues(t *testing.T) {
	lists := []string{
		contract.AnnotationIncludeInboundPorts, contract.AnnotationExcludeInboundPorts, contract.AnnotationIncludeOutboundPorts,
		contract.AnnotationExcludeOutboundPorts, contract.AnnotationIncludeOutboundRanges, contract.AnnotationExcludeOutboundRanges,
		contract.AnnotationExcludeInterfaces,
	}
	bad := []struct {
		value  string
		except []string
	}{
		{value: "", except: lists},
		{value: " \t", except: lists},
		{value: "-1"},
		{value: "99999999999999999999"},
		{value: "1e30"},
		{value: "0x50"},
		{value: "no such value"},
		{value: "90-80"},
		{value: "１２"},
		{value: "💥"},
		{value: "80\x00"},
		{value: "10.0.0.0/33"},
		{value: "::ffff:10.0.0.0/104"},
		{value: "fe80::1%eth0"},
		{value: "True"},
		{value: "{}"},
		{value: "[]"},
		{value: "*,80"},
		{value: strings.Repeat("1,", 2000)},
	}
	for _, r := range allRows() {
		for _, b := range bad {
			if slices.Contains(b.except, r.key) || r.key == contract.AnnotationProxyImage && imageLike(b.value) ||
				r.key == contract.AnnotationExcludeInterfaces && interfaceLike(b.value) {
				continue
			}
			_, _, err := Read(Level{Of: "namespace shop", Annotations: map[string]string{r.key: b.value}})
			if err == nil {
				t.Errorf("%s: %q is taken", r.key, b.value)
				continue
			}
			if !strings.HasPrefix(err.Error(), "read annotation "+r.key+" of namespace shop: ") || !saysAllowed(err) {
				t.Errorf("%s: error %q lacks the key, or what is allowed", r.key, err)
			}
			if len(b.value) > 0 && len(b.value) < 100 && !strings.Contains(err.Error(), strings.Trim(quoted(b.value), ` "`)) {
				t.Errorf("%s: error %q lacks the value %q", r.key, err, b.value)
			}
		}
	}
}

// saysAllowed: a reversed range is told how to write it.
func saysAllowed(err error) bool {
	return strings.Contains(err.Error(), "(allowed: ") || strings.Contains(err.Error(), "? allowed: ") || strings.Contains(err.Error(), "(write ")
}

// interfaceLike are values that do name an interface: Linux has few rules.
func interfaceLike(value string) bool {
	return slices.Contains([]string{"1e30", "0x50", "90-80", "True"}, value)
}

// imageLike are values that do name an image, if an odd one.
func imageLike(value string) bool {
	return slices.Contains([]string{"99999999999999999999", "1e30", "0x50", "90-80", "True", "10.0.0.0/33"}, value)
}

func quoted(value string) string {
	return strings.TrimSuffix(notAllowed(value, "x").Error(), " is not possible (allowed: x)")
}

func TestBounds(t *testing.T) {
	tests := []struct {
		key, value string
		taken      bool
	}{
		{contract.AnnotationProxyMemoryLimit, "8Mi", true},
		{contract.AnnotationProxyMemoryLimit, "100m", false}, // a tenth of a byte
		{contract.AnnotationProxyMemoryLimit, "128", false},
		{contract.AnnotationProxyMemoryLimit, "1Ti", true},
		{contract.AnnotationProxyMemoryLimit, "2Ti", false},
		{contract.AnnotationProxyCPURequest, "0", true},
		{contract.AnnotationProxyCPURequest, "0.5", true},
		{contract.AnnotationProxyCPURequest, "100Mi", false},
		{contract.AnnotationProxyCPURequest, "1e+02", true},
		{contract.AnnotationProxyCPURequest, "1e-666666333", false},
		{contract.AnnotationProxyCPURequest, "0E666666333", false},
		{contract.AnnotationProxyCPURequest, "0." + strings.Repeat("0", maxQuantity) + "1", false},
		{contract.AnnotationProxyConcurrency, "64", true},
		{contract.AnnotationProxyConcurrency, "65", false},
		{contract.AnnotationProxyConcurrency, "0", false},
		{contract.AnnotationProxyConcurrency, "04", false},
		{contract.AnnotationDrainTimeout, "1s", true},
		{contract.AnnotationDrainTimeout, "0s", false},
		{contract.AnnotationDrainTimeout, "61m", false},
		{contract.AnnotationDrainTimeout, "30", false},
		{contract.AnnotationTerminationDelay, "-1s", false},
		{contract.AnnotationProxyEnv, "A: b", true},
		{contract.AnnotationProxyEnv, `{"A": 1}`, true}, // as YAML has it
		{contract.AnnotationProxyEnv, `{"A": ["b"]}`, false},
		{contract.AnnotationProxyEnv, `{"1A": "b"}`, false},
		{contract.AnnotationProxyEnv, `{"A": "b\u0000"}`, false},
		{contract.AnnotationProxyEnv, `{"A": "b", "A": "c"}`, false},
		{contract.AnnotationProxyEnv, `{"NODE_NAME": "b"}`, false},
		{contract.AnnotationIncludeOutboundRanges, "127.0.0.0/8", false},
		{contract.AnnotationIncludeOutboundRanges, "::1", false},
		{contract.AnnotationExcludeOutboundRanges, "127.0.0.0/8", true},
		{contract.AnnotationExcludeInboundPorts, "*", false},
		{contract.AnnotationIncludeInboundPorts, "+80", false}, // to all
		{istioConfig, "concurrency: [", false},
		{istioConfig, "[1]", false},
		{istioConfig, "", true},
		{istioConfig, "holdApplicationUntilProxyStarts: maybe", false},
	}
	for _, tt := range tests {
		_, _, err := Read(Level{Annotations: map[string]string{tt.key: tt.value}})
		if (err == nil) != tt.taken {
			t.Errorf("%s: %q: error %v, want taken %v", tt.key, tt.value, err, tt.taken)
		}
	}
}

func TestEnvironmentIsOrdered(t *testing.T) {
	got, err := environment("{B: two, A: '', C: '3'}")
	want := []corev1.EnvVar{{Name: "A"}, {Name: "B", Value: "two"}, {Name: "C", Value: "3"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("environment: %v (-want +got):\n%s", err, diff)
	}
}

// Every key of the contract has its row, and every row is in the documentation.
func TestTableIsWhole(t *testing.T) {
	source, err := os.ReadFile("../../../internal/contract/annotations.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../../docs/annotations.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(doc), Markdown()) {
		t.Error("docs/annotations.md is not what the table says (run: go generate ./webhook/inject)")
	}
	for _, r := range allRows() {
		if !strings.Contains(string(source), `"`+r.key+`"`) || r.doc == "" || r.allowed == "" || r.unset == "" {
			t.Errorf("%s: the row is incomplete, or its key is not in the contract", r.key)
		}
	}
	if keys := strings.Count(string(source), `= "shunt.dev/`); keys != len(allRows())+4 { // inject, status, node, the prefix
		t.Errorf("the contract has %d keys, the table %d rows", keys, len(allRows()))
	}
}
