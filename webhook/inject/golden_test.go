// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

var update = flag.Bool("update", false, "write the golden files")

// example is one file of testdata: a pod, its namespace where that matters, and
// what the webhook was told, in a comment.
type example struct {
	name      string
	pod       *corev1.Pod
	namespace inject.Namespace
	options   inject.Options
}

func examples(t testing.TB) []example {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, path := range paths {
		if !strings.HasSuffix(path, ".injected.yaml") {
			all = append(all, readExample(t, path))
		}
	}
	return all
}

func readExample(t testing.TB, path string) example {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := example{name: strings.TrimSuffix(filepath.Base(path), ".yaml"), pod: new(corev1.Pod), namespace: namespace(), options: options()}
	first, second, two := strings.Cut(string(text), "\n---\n")
	parse(t, path, first, e.pod)
	if two {
		ns := new(corev1.Namespace)
		parse(t, path, second, ns)
		e.namespace = inject.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	}
	for line := range strings.Lines(first) {
		if words, found := strings.CutPrefix(line, "# options: "); found {
			e.options = told(t, strings.Fields(words))
		}
	}
	return e
}

func parse(t testing.TB, path, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
}

func told(t testing.TB, words []string) inject.Options {
	t.Helper()
	o := options()
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "classic":
			o.ClassicSidecars = true
		case "cni":
			o.Interception = contract.InterceptionCNI
		case "istio-compat":
			o.IstioCompat = true
		case "default":
			o.ByDefault = true
		case "never":
			o.Never = append(o.Never, selector(t, value))
		case "always":
			o.Always = append(o.Always, selector(t, value))
		case "pull-secrets":
			o.PullSecrets = strings.Split(value, ",")
		default:
			t.Fatalf("unknown option %q", word)
		}
	}
	return o
}

func selector(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is what a golden file holds: the pod, or the words of a skip or a
// refusal as comments.
func outcome(t *testing.T, e example) string {
	t.Helper()
	d, err := inject.Decide(e.pod, e.namespace, e.options)
	if refusal := new(inject.Refusal); errors.As(err, &refusal) {
		return "# refused (" + string(refusal.Reason) + "): " + err.Error() + "\n"
	}
	if !d.Injected() {
		return "# skipped (" + string(d.Reason) + "): " + d.Reason.Words() + "\n"
	}
	text, err := yaml.Marshal(apply(t, d, e.pod))
	if err != nil {
		t.Fatal(err)
	}
	var warnings strings.Builder
	for _, w := range d.Warnings {
		warnings.WriteString("# warning: " + w + "\n")
	}
	return "# injected (" + string(d.Reason) + ")\n" + warnings.String() + string(text)
}

func TestGolden(t *testing.T) {
	all := examples(t)
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			before := e.pod.DeepCopy()
			got := outcome(t, e)
			if diff := cmp.Diff(before, e.pod); diff != "" {
				t.Errorf("Decide changed its input (-before +after):\n%s", diff)
			}
			compare(t, "testdata/"+e.name+".injected.yaml", got)
		})
	}
	outputs, err := filepath.Glob("testdata/*.injected.yaml")
	if err != nil || len(outputs) != len(all) {
		t.Errorf("%d outputs of %d inputs (%v): one is left over, remove it", len(outputs), len(all), err)
	}
	if len(all) < 60 {
		t.Errorf("%d pairs, want at least 60", len(all))
	}
	t.Logf("FIGURE webhook.golden.pairs %d pairs", len(all))
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

// Each pod that is injected is left alone when it comes again, and is what it
// was when the injection is taken back.
func TestGoldenAgainAndBack(t *testing.T) {
	injected := 0
	for _, e := range examples(t) {
		d, err := inject.Decide(e.pod, e.namespace, e.options)
		if err != nil || !d.Injected() {
			continue
		}
		injected++
		out := apply(t, d, e.pod)
		again, err := inject.Decide(out, e.namespace, e.options)
		if err != nil || again.Reason != inject.AlreadyInjected || again.Injected() {
			t.Errorf("%s: second pass: %+v, %v; want %s", e.name, again, err, inject.AlreadyInjected)
		}
		back := apply(t, inject.Decision{Patch: inject.Restore(out)}, out)
		delete(e.pod.Annotations, contract.AnnotationStatus) // one that it came with was another pod's
		if diff := cmp.Diff(e.pod, back, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: taken back (-before +after):\n%s", e.name, diff)
		}
	}
	if injected < 60 {
		t.Errorf("%d pods were injected, want at least 60", injected)
	}
}
