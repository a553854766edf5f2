// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Whatever pod comes: nothing that its author wrote is lost, what came out
// changes no more when it comes again, and taking the injection back gives the
// pod as it was.
func TestNothingIsLost(t *testing.T) {
	parts := examples(t)
	injected := 0
	rapid.Check(t, func(t *rapid.T) {
		pod := drawPod(t, parts)
		e := rapid.SampledFrom(parts).Draw(t, "namespace and options")
		d, err := inject.Decide(pod, e.namespace, e.options)
		if err != nil || !d.Injected() {
			return
		}
		injected++
		out := apply(t, d, pod)
		for _, what := range append(missing("", flat(t, pod), flat(t, out)), moved(pod, out)...) {
			t.Errorf("lost or changed: %s", what)
		}
		again, err := inject.Decide(out, e.namespace, e.options)
		if err != nil || again.Reason != inject.AlreadyInjected || again.Injected() {
			t.Errorf("second pass: %+v, %v", again, err)
		}
		delete(pod.Annotations, contract.AnnotationStatus) // one that it came with was another pod's
		back := apply(t, inject.Decision{Patch: inject.Restore(out)}, out)
		if diff := cmp.Diff(pod, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("taken back (-before +after):\n%s", diff)
		}
	})
	if injected < 20 {
		t.Errorf("%d pods were injected: too few to prove anything", injected)
	}
}

// drawPod takes each field of a pod from an example of its own.
func drawPod(t *rapid.T, parts []example) *corev1.Pod {
	pod := new(corev1.Pod)
	into := reflect.ValueOf(&pod.Spec).Elem()
	for i := range into.NumField() {
		part := rapid.SampledFrom(parts).Draw(t, into.Type().Field(i).Name)
		into.Field(i).Set(reflect.ValueOf(part.pod.DeepCopy().Spec).Field(i))
	}
	pod.ObjectMeta = *rapid.SampledFrom(parts).Draw(t, "metadata").pod.ObjectMeta.DeepCopy()
	if pod.Annotations == nil {
		pod.Annotations = make(map[string]string)
	}
	maps.Copy(pod.Annotations, rapid.SampledFrom(parts).Draw(t, "annotations").pod.Annotations)
	if rapid.Bool().Draw(t, "own proxy") {
		own := rapid.SampledFrom(parts).Filter(func(e example) bool { return strings.HasPrefix(e.name, "own-proxy") }).Draw(t, "own")
		pod.Spec.Containers, pod.Spec.InitContainers = own.pod.DeepCopy().Spec.Containers, own.pod.DeepCopy().Spec.InitContainers
	}
	pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "RANDOM", Value: rapid.String().Draw(t, "value")})
	return pod
}

// flat is a pod as JSON has it, with the containers of both lists in one, since
// the user's own proxy container moves between them.
func flat(t *rapid.T, pod *corev1.Pod) map[string]any {
	var out struct {
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
	}
	if err := json.Unmarshal(toJSON(t, pod), &out); err != nil {
		t.Fatal(err)
	}
	if annotations, ok := out.Metadata["annotations"].(map[string]any); ok {
		delete(annotations, contract.AnnotationStatus)
		for _, replaced := range []string{"prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"} {
			delete(annotations, replaced) // where metrics are merged; taken back, they are as they were
		}
	}
	inits, _ := out.Spec["initContainers"].([]any)
	containers, _ := out.Spec["containers"].([]any)
	delete(out.Spec, "initContainers")
	out.Spec["containers"] = append(inits, containers...)
	for _, c := range out.Spec["containers"].([]any) {
		if c := c.(map[string]any); c["name"] == contract.ProxyContainer && c["image"] == "auto" {
			delete(c, "image")
			delete(c, "imagePullPolicy")
		}
	}
	return map[string]any{"metadata": out.Metadata, "spec": out.Spec}
}

// missing returns the paths in was that is hasn't, or has otherwise. Entries of
// lists are found by their names, where they have one.
func missing(path string, was, is any) []string {
	switch was := was.(type) {
	case map[string]any:
		is, _ := is.(map[string]any)
		var out []string
		for key, value := range was {
			out = append(out, missing(path+"/"+key, value, is[key])...)
		}
		return out
	case []any:
		is, _ := is.([]any)
		var out []string
		for i, value := range was {
			out = append(out, missing(fmt.Sprintf("%s/%d", path, i), value, same(value, i, is))...)
		}
		return out
	default:
		if was != is {
			return []string{fmt.Sprintf("%s: %v became %v", path, was, is)}
		}
		return nil
	}
}

func same(entry any, i int, list []any) any {
	if fields, ok := entry.(map[string]any); ok && fields["name"] != nil {
		for _, other := range list {
			if other, ok := other.(map[string]any); ok && other["name"] == fields["name"] && (fields["mountPath"] == nil || fields["mountPath"] == other["mountPath"]) {
				return other
			}
		}
		return nil
	}
	if i < len(list) {
		return list[i]
	}
	return nil
}

// moved tells of user's containers that changed their order among themselves.
func moved(pod, out *corev1.Pod) []string {
	names := func(list []corev1.Container) (names []string) {
		for _, c := range list {
			if c.Name != contract.ProxyContainer && c.Name != contract.InitContainer && c.Name != contract.ValidateContainer {
				names = append(names, c.Name)
			}
		}
		return names
	}
	if slices.Equal(names(pod.Spec.InitContainers), names(out.Spec.InitContainers)) && slices.Equal(names(pod.Spec.Containers), names(out.Spec.Containers)) {
		return nil
	}
	return []string{"the order of the containers"}
}

func FuzzAnnotations(f *testing.F) {
	f.Add(contract.AnnotationExcludeInboundPorts, "8081,9000-9010")
	f.Add("traffic.sidecar.istio.io/includeOutboundIPRanges", "*")
	f.Add("proxy.istio.io/config", "{concurrency: 2}")
	f.Add(contract.AnnotationProxyEnv, `{"A": "b"}`)
	f.Add("shunt.dev/", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?") // a pod comes as JSON
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
