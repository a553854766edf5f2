// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func TestRefusals(t *testing.T) {
	annotate := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
	}
	tests := []struct {
		name   string
		change func(*corev1.Pod)
		words  []string // all of them are in the message
	}{
		{"port that is none", annotate(contract.AnnotationExcludeInboundPorts, "80,http"), []string{contract.AnnotationExcludeInboundPorts, `"80,http"`, `"http" is not a number`, "1 to 65535"}},
		{"reversed range", annotate(contract.AnnotationIncludeInboundPorts, "90-80"), []string{contract.AnnotationIncludeInboundPorts, "write 80-90", `"*" alone`}},
		{"star among ports", annotate(contract.AnnotationIncludeInboundPorts, "80,*"), []string{`"80,*"`, `"*" alone means all`}},
		{"star where none is allowed", annotate(contract.AnnotationExcludeInboundPorts, "*"), []string{contract.AnnotationExcludeInboundPorts, `"*" is not a number`}},
		{"CIDR that is none", annotate(contract.AnnotationExcludeOutboundRanges, "10.0.0.0/33"), []string{contract.AnnotationExcludeOutboundRanges, `"10.0.0.0/33"`, "10.0.0.0/8 or fd00::/8"}},
		{"bad alias", annotate("traffic.sidecar.istio.io/excludeOutboundPorts", "65536"), []string{"traffic.sidecar.istio.io/excludeOutboundPorts", `"65536"`, "1 to 65535"}},
		{"slip in a key", annotate("shunt.dev/exclude-inbound-port", "80"), []string{"shunt.dev/exclude-inbound-port:", "did you mean shunt.dev/exclude-inbound-ports?", contract.AnnotationIncludeOutboundRanges}},
		{"far-off key", annotate("shunt.dev/colour", "red"), []string{"shunt.dev/colour", "allowed: shunt.dev/drain-timeout, "}},
		{"label that is neither", func(p *corev1.Pod) { p.Labels = map[string]string{contract.LabelInject: "false"} }, []string{"label shunt.dev/inject", `"false"`, "enabled, disabled"}},
		{"annotation that is neither", annotate(contract.LabelInject, "no"), []string{"annotation shunt.dev/inject", `"no"`, "enabled, disabled"}},
		{"pod uid", func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1337))} }, []string{"the pod runs as uid 1337", "spec.securityContext.runAsUser"}},
		{"pod gid", func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsGroup: new(int64(1337))} }, []string{"the pod runs as gid 1337"}},
		{"container uid", func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1337))}
		}, []string{`container "app" runs as uid 1337`, "spec.containers[app].securityContext.runAsUser"}},
		{"init container gid", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "migrate", SecurityContext: &corev1.SecurityContext{RunAsGroup: new(int64(1337))}}}
		}, []string{`container "migrate" runs as gid 1337`, "spec.initContainers[migrate]"}},
		{"container's name is taken", func(p *corev1.Pod) { p.Spec.Containers[0].Name = contract.ProxyContainer }, []string{`only container is named "shunt-proxy"`, "rename it"}},
		{"init container's name is taken", func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: contract.InitContainer}} }, []string{`container named "shunt-init"`}},
		{"volume's name is taken", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: contract.TokenVolume}} }, []string{`volume named "shunt-token"`}},
		{"forged status over taken names", func(p *corev1.Pod) {
			p.Annotations = map[string]string{contract.AnnotationStatus: "{}"}
			p.Spec.InitContainers = []corev1.Container{{Name: contract.InitContainer}}
		}, []string{`container named "shunt-init"`}},
	}
	for _, tt := range tests {
		pod := simplePod()
		tt.change(pod)
		d, err := inject.Decide(pod, namespace(), options())
		if err == nil {
			t.Errorf("%s: Decide = %+v, want a refusal", tt.name, d)
			continue
		}
		for _, w := range tt.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q lacks %q", tt.name, err, w)
			}
		}
	}
}

// A status copied from another pod's YAML must not mean a pod without a proxy.
func TestStaleStatusIsReplaced(t *testing.T) {
	for _, stale := range []string{`{"version":"9"}`, "nonsense", ""} {
		pod := simplePod()
		pod.Annotations = map[string]string{contract.AnnotationStatus: stale}
		d, err := inject.Decide(pod, namespace(), options())
		if err != nil || !d.Injected() {
			t.Fatalf("status %q: Decide = %+v, %v; want an injection", stale, d, err)
		}
		var got inject.Status
		if err := json.Unmarshal([]byte(apply(t, d, pod).Annotations[contract.AnnotationStatus]), &got); err != nil {
			t.Fatal(err)
		}
		want := inject.Status{Version: "0.1.0", Capture: contract.Capture{Interception: contract.InterceptionInit}, Containers: []string{"shunt-init", "shunt-proxy"}, Volumes: []string{"shunt-proxy", "shunt-token", "shunt-no-token"}, Annotations: []string{"kubectl.kubernetes.io/default-container"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
}

// A container that a later webhook adds with the proxy's uid is refused on the
// second pass too.
func TestSecondPassStillChecksUsers(t *testing.T) {
	pod := simplePod()
	d, err := inject.Decide(pod, namespace(), options())
	if err != nil {
		t.Fatal(err)
	}
	again := apply(t, d, pod)
	again.Spec.Containers = append(again.Spec.Containers, corev1.Container{Name: "late", SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(1337))}})
	if d, err := inject.Decide(again, namespace(), options()); err == nil {
		t.Errorf("Decide = %+v, want a refusal", d)
	}
}

func simplePod() *corev1.Pod {
	pod := new(corev1.Pod)
	pod.Name = "web"
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app:1"}}
	return pod
}
