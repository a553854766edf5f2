// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

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
	d, err := inject.Decide(pod, options())
	switch {
	case err != nil:
		return "# refused: " + err.Error() + "\n"
	case d.Skip != "":
		return "# skipped (" + string(d.Skip) + "): " + d.Skip.Words() + "\n"
	}
	text, err := yaml.Marshal(d.Apply(pod))
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
		d, err := inject.Decide(pod, options())
		if err != nil || d.Skip != inject.AlreadyInjected || d.Add != nil {
			t.Errorf("%s: second pass: %+v, %v; want %s", path, d, err, inject.AlreadyInjected)
		}
	}
}
