// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

var update = flag.Bool("update", false, "write the golden files")

func options() inject.Options {
	return inject.Options{
		Image:            "shunt.dev/dataplane:0.1.0",
		PullPolicy:       corev1.PullIfNotPresent,
		DiscoveryAddress: "shunt-discovery.shunt-system.svc:15012",
		DiscoveryCA:      "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n",
		Version:          "0.1.0",
	}
}

// namespace is labelled, as the API server's selectors leave it.
func namespace() inject.Namespace {
	return inject.Namespace{Name: "shop", Labels: map[string]string{contract.LabelInject: contract.InjectEnabled}}
}

// apply returns pod as the API server has it after d.
func apply(t rapid.TB, d inject.Decision, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out := new(corev1.Pod)
	if err := json.Unmarshal(applyTo(t, d.Patch, toJSON(t, pod)), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func applyTo(t rapid.TB, patch []inject.Operation, object []byte) []byte {
	t.Helper()
	steps, err := jsonpatch.DecodePatch(toJSON(t, append([]inject.Operation{}, patch...)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := steps.Apply(object)
	if err != nil {
		t.Fatalf("apply %s to %s: %v", toJSON(t, patch), object, err)
	}
	return out
}

func toJSON(t rapid.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readPod(t testing.TB, path string) *corev1.Pod {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pod := new(corev1.Pod)
	if err := yaml.UnmarshalStrict(text, pod); err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
	return pod
}

// outcome is what a golden file holds: the pod, or the words of a skip or a
// refusal as comments.
func outcome(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	d, err := inject.Decide(pod, namespace(), options())
	if refusal := new(inject.Refusal); errors.As(err, &refusal) {
		return "# refused (" + string(refusal.Reason) + "): " + err.Error() + "\n"
	}
	if !d.Injected() {
		return "# skipped (" + string(d.Reason) + "): " + d.Reason.Words() + "\n"
	}
	text, err := yaml.Marshal(apply(t, d, pod))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, in := range inputs {
		if strings.HasSuffix(in, ".injected.yaml") {
			continue
		}
		seen++
		t.Run(strings.TrimSuffix(filepath.Base(in), ".yaml"), func(t *testing.T) {
			pod := readPod(t, in)
			before := pod.DeepCopy()
			got := outcome(t, pod)
			if diff := cmp.Diff(before, pod); diff != "" {
				t.Errorf("Decide changed its input (-before +after):\n%s", diff)
			}
			compare(t, strings.TrimSuffix(in, ".yaml")+".injected.yaml", got)
		})
	}
	if seen < 20 {
		t.Errorf("found %d pods in testdata, want at least 20", seen)
	}
}

func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v (make it with: go test ./webhook/inject -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

// Each golden pod that is injected is left alone when it comes again.
func TestGoldenSecondPass(t *testing.T) {
	outputs, err := filepath.Glob("testdata/*.injected.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range outputs {
		pod := readPod(t, path)
		if len(pod.Spec.Containers) == 0 {
			continue // words alone
		}
		d, err := inject.Decide(pod, namespace(), options())
		if err != nil || d.Reason != inject.AlreadyInjected || d.Injected() {
			t.Errorf("%s: second pass: %+v, %v; want %s", path, d, err, inject.AlreadyInjected)
		}
	}
}
