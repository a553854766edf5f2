// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Whatever pod comes: nothing that its author wrote is lost or moved behind
// something of its own, and what came out changes no more when it comes again.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := drawPod(t)
		d, err := inject.Decide(pod, namespace(), options())
		if err != nil || !d.Injected() {
			return
		}
		out := apply(t, d, pod)
		if diff := cmp.Diff(withoutOurs(pod, pod), withoutOurs(out, pod), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("lost or changed (-in +out):\n%s", diff)
		}
		again, err := inject.Decide(out, namespace(), options())
		if err != nil || again.Reason != inject.AlreadyInjected {
			t.Fatalf("second pass: %+v, %v", again, err)
		}
	})
}

// withoutOurs strips what injection may add, and the status annotation, which
// is ours alone. Empty and nil are the same to the API server.
func withoutOurs(pod, original *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	delete(out.Annotations, contract.AnnotationStatus)
	if _, set := original.Annotations["kubectl.kubernetes.io/default-container"]; !set {
		delete(out.Annotations, "kubectl.kubernetes.io/default-container")
	}
	if len(out.Annotations) == 0 {
		out.Annotations = nil
	}
	out.Spec.InitContainers = nil
	for _, c := range pod.Spec.InitContainers {
		if !strings.HasPrefix(c.Name, "shunt-") {
			out.Spec.InitContainers = append(out.Spec.InitContainers, c)
		}
	}
	out.Spec.Volumes = nil
	for _, v := range pod.Spec.Volumes {
		if !strings.HasPrefix(v.Name, "shunt-") {
			out.Spec.Volumes = append(out.Spec.Volumes, v)
		}
	}
	return out
}

func drawPod(t *rapid.T) *corev1.Pod {
	pod := new(corev1.Pod)
	pod.GenerateName = rapid.SampledFrom([]string{"", "web-"}).Draw(t, "generateName")
	pod.Labels = rapid.MapOfN(rapid.SampledFrom([]string{"app", contract.LabelInject}), rapid.SampledFrom([]string{"enabled", "disabled", "x"}), 0, 2).Draw(t, "labels")
	pod.Annotations = drawAnnotations(t)
	pod.Spec.HostNetwork = rapid.Float64Range(0, 1).Draw(t, "hostNetwork") > 0.9
	pod.Spec.Containers = rapid.SliceOfN(rapid.Custom(drawContainer), 0, 3).Draw(t, "containers")
	pod.Spec.InitContainers = rapid.SliceOfN(rapid.Custom(drawContainer), 0, 3).Draw(t, "initContainers")
	for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"data", "tmp", "cache", "shunt-x"}), 0, 3).Draw(t, "volumes") {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: strings.TrimPrefix(name, "shunt-")})
	}
	if rapid.Bool().Draw(t, "securityContext") {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: drawID(t), RunAsNonRoot: new(true)}
	}
	return pod
}

func drawAnnotations(t *rapid.T) map[string]string {
	keys := rapid.SampledFrom([]string{
		"team", contract.AnnotationStatus, contract.AnnotationExcludeInboundPorts, contract.AnnotationIncludeOutboundRanges,
		"traffic.sidecar.istio.io/excludeOutboundPorts", "kubectl.kubernetes.io/default-container",
	})
	values := rapid.SampledFrom([]string{"", "80", "80-90,100", "*", "10.0.0.0/8", "{}", "x"})
	return rapid.MapOfN(keys, values, 0, 3).Draw(t, "annotations")
}

func drawContainer(t *rapid.T) corev1.Container {
	c := corev1.Container{
		Name:  rapid.SampledFrom([]string{"app", "logs", "migrate"}).Draw(t, "name"),
		Image: rapid.String().Draw(t, "image"),
		Env:   []corev1.EnvVar{{Name: "A", Value: rapid.String().Draw(t, "env")}},
	}
	if rapid.Bool().Draw(t, "securityContext") {
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: drawID(t)}
	}
	return c
}

func drawID(t *rapid.T) *int64 {
	return rapid.SampledFrom([]*int64{nil, new(int64(0)), new(int64(1000)), new(int64(1000)), new(int64(1337))}).Draw(t, "uid")
}

func FuzzAnnotations(f *testing.F) {
	f.Add(contract.AnnotationExcludeInboundPorts, "8081,9000-9010")
	f.Add("traffic.sidecar.istio.io/includeOutboundIPRanges", "*")
	f.Add("shunt.dev/", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		pod := simplePod()
		pod.Annotations = map[string]string{key: value}
		d, err := inject.Decide(pod, namespace(), options())
		if err != nil {
			if !strings.Contains(err.Error(), key) {
				t.Errorf("error %q does not name the key %q", err, key)
			}
			return
		}
		if out := apply(t, d, pod); d.Injected() && key != contract.AnnotationStatus && out.Annotations[key] != value {
			t.Errorf("annotation %q became %q", value, out.Annotations[key])
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	pod := readPod(b, "testdata/annotations-ours.yaml")
	ns, o := namespace(), options()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inject.Decide(pod, ns, o); err != nil {
			b.Fatal(err)
		}
	}
}
