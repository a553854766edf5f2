// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/shuntctl/workload"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func options() inject.Options {
	return inject.Options{Image: "shunt.dev/dataplane:0.1.0", DiscoveryAddress: "discovery:15012", DiscoveryCA: "-----BEGIN\nMII=\n", Version: "0.1.0"}
}

func run(t testing.TB, text string) (string, []workload.Outcome) {
	t.Helper()
	var out bytes.Buffer
	outcomes, err := workload.Inject(strings.NewReader(text), &out, options())
	if err != nil {
		t.Fatalf("inject: %v\n%s", err, text)
	}
	return out.String(), outcomes
}

func back(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := workload.Uninject(strings.NewReader(text), &out); err != nil {
		t.Fatalf("uninject: %v\n%s", err, text)
	}
	return out.String()
}

// wrappings are how a pod's YAML stands in the objects that we know.
func wrappings() map[string]string {
	return map[string]string{
		"Pod":                   "%s",
		"Deployment":            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"DaemonSet":             "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"StatefulSet":           "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"ReplicaSet":            "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"ReplicationController": "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"Job":                   "apiVersion: batch/v1\nkind: Job\nmetadata: {name: web}\nspec:\n  template:\n%s",
		"CronJob":               "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web}\nspec:\n  jobTemplate:\n    spec:\n      template:\n%s",
		"List":                  "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: web}\n  spec:\n    template:\n%s",
	}
}

func indent(text string, by int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.Repeat(" ", by) + line)
	}
	return out.String()
}

// Every golden pod, in every object that can hold one, becomes what the webhook
// makes of it, and is what it was when the injection is taken back.
func TestGoldensThereAndBack(t *testing.T) {
	paths, err := filepath.Glob("../../webhook/inject/testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("golden files: %d, %v", len(paths), err)
	}
	injected := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pod, _, _ := strings.Cut(string(text), "\n---\n") // what the webhook was told is not told here
		if strings.HasSuffix(path, ".injected.yaml") || !accepted(t, pod) {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		for kind, format := range wrappings() {
			// Where a template stands has nothing to do with what is in it.
			if kind != "Pod" && kind != "List" && !slices.Contains([]string{"simple", "own-proxy", "annotations-ours"}, name) {
				continue
			}
			wrapped := pod + "\n"
			if kind != "Pod" {
				wrapped = fmt.Sprintf(format, indent(pod, 8)+"\n")
			}
			out, outcomes := run(t, wrapped)
			if len(outcomes) != 1 || !outcomes[0].Changed {
				if out != wrapped {
					t.Errorf("%s in %s: left alone (%+v), and changed:\n%s", path, kind, outcomes, cmp.Diff(wrapped, out))
				}
				continue
			}
			injected++
			if !strings.Contains(out, "shunt-proxy") || out == wrapped {
				t.Errorf("%s in %s: no proxy in\n%s", path, kind, out)
			}
			if again, _ := run(t, out); again != out {
				t.Errorf("%s in %s: a second pass changes (-first +second):\n%s", path, kind, cmp.Diff(out, again))
			}
			if strings.HasPrefix(name, "stale-status") { // it was never this pod's, and is not put back
				continue
			}
			if diff := cmp.Diff(object(t, wrapped), object(t, back(t, out)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s in %s: back (-before +after):\n%s", path, kind, diff)
			}
		}
	}
	if injected < 150 {
		t.Errorf("%d objects were injected, want at least 150", injected)
	}
}

// accepted leaves out what the webhook refuses; the tests of inject have those.
func accepted(t *testing.T, text string) bool {
	t.Helper()
	pod := new(corev1.Pod)
	if err := yaml.Unmarshal([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.ByDefault = true
	_, err := inject.Decide(pod, inject.Namespace{}, o)
	return err == nil
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return out
}

const plainPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: app, image: \"app:1\"}]}\n"

// What is no pod, and holds none, goes through byte for byte.
func TestUnknownPassesThrough(t *testing.T) {
	for _, text := range []string{
		"", "\n\n", "# nothing\n", "---\n---\n", "--- # a comment\n{a:   1}\n...\n", "a: 1   # here\r\nb:  [1,2]\r\n",
		"apiVersion: example.com/v1\nkind: Deployment\nspec: {template: {spec:   {containers: []}}}\n",
		"apiVersion: v1\nkind: Service\nspec:\n    x: |\n      --- not a marker\n", "kind: Pod\n", "{\"kind\":  \"List\"}", "--- {a: 1}\n---\n\n--- \nb: 2",
	} {
		if out, outcomes := run(t, text); out != text || len(outcomes) > 0 {
			t.Errorf("%q became %q, %+v", text, out, outcomes)
		}
		if out := back(t, text); out != text {
			t.Errorf("%q became %q when taken back", text, out)
		}
	}
}

// Only the documents with pods change, and in those nothing but what is added.
func TestWhatStays(t *testing.T) {
	text := "# head\nfirst:   1\n---\n# about the pod\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web # its name\nspec:\n  zeta: 1\n  containers:\n  # the application\n  - name: app\n    image: 'app:1'\n  alpha: 2\n---\nlast:   [ 1 ]"
	out, _ := run(t, text)
	at := 0
	for _, want := range []string{"# head\nfirst:   1\n---\n# about the pod\napiVersion: v1\n", "name: web # its name", "zeta: 1\n  containers:\n  # the application\n  - name: app\n    image: 'app:1'\n  alpha: 2\n", "  initContainers:\n  - name: shunt-init", "\n---\nlast:   [ 1 ]"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("%q is not behind the %d bytes before:\n%s", want, at, out)
		}
		at += i
	}
	if got := back(t, out); got != text {
		t.Errorf("back (-before +after):\n%s", cmp.Diff(text, got))
	}
}

// The forms that YAML has for the same object.
func TestForms(t *testing.T) {
	tests := map[string]string{
		"JSON":               `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": {"n": "1", "b": "true"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}`,
		"on one line":        "--- {apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: app}]}}\n",
		"anchors":            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: &l {app: web}}\nspec: {template: {metadata: {labels: *l}, spec: {containers: [&c {name: app}, {<<: *c, name: other}]}}}\n",
		"indented lists":     "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n    - name: app\n  initContainers:\n    - name: one\n",
		"nulls":              "apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: null}\nspec: {containers: [{name: app}], initContainers: null, volumes: ~}\n",
		"template's own":     "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: app}]}}}\n",
		"no newline":         strings.TrimSuffix(plainPod, "\n"),
		"CRLF":               strings.ReplaceAll(plainPod, "\n", "\r\n"),
		"a List in a List":   "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: [" + `{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "app"}]}}` + "]}]\n",
		"texts like numbers": "apiVersion: v1\nkind: Pod\nmetadata: {name: \"1\", labels: {v: \"1e3\", y: \"yes\", n: \"null\"}}\nspec: {containers: [{name: app, command: [\"0x1\"]}]}\n",
	}
	for name, text := range tests {
		out, outcomes := run(t, text)
		if len(outcomes) != 1 || !outcomes[0].Changed || !strings.Contains(out, "name: shunt-proxy") {
			t.Errorf("%s: %+v:\n%s", name, outcomes, out)
			continue
		}
		want := strings.TrimPrefix(text, "---")
		if diff := cmp.Diff(object(t, want), object(t, back(t, out)), cmpopts.EquateEmpty(), cmp.FilterPath(isNothing, cmp.Ignore())); diff != "" {
			t.Errorf("%s: back (-before +after):\n%s", name, diff)
		}
	}
}

// What an anchor's other users have does not change with the pod.
func TestAnchorsAreResolved(t *testing.T) {
	const text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: example.com/v1, kind: Copy, spec: &s {containers: [{name: app}]}}\n- {apiVersion: v1, kind: Pod, spec: *s}\n"
	out, _ := run(t, text)
	items, _ := object(t, out)["items"].([]any)
	want, _ := object(t, text)["items"].([]any)
	if len(items) != 2 || !cmp.Equal(items[0], want[0]) || cmp.Equal(items[1], want[1]) {
		t.Errorf("the other user changed, or the pod did not:\n%s", out)
	}
}

// isNothing passes over a field that was null and is gone, and over the empty
// metadata that stays in a template which had none.
func isNothing(p cmp.Path) bool {
	x, y := p.Last().Values()
	switch {
	case x.IsValid() && !y.IsValid():
		return x.IsNil()
	case y.IsValid() && !x.IsValid():
		empty, isMap := y.Interface().(map[string]any)
		return isMap && len(empty) == 0
	default:
		return false
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]string{
		"a: [":  "parse document 1",
		"- a\n": "parse document 1",
		plainPod + "---\n" + strings.Replace(plainPod, "{name: web}", `{name: bad, annotations: {shunt.dev/x: ""}}`, 1): "pod/bad: read annotation shunt.dev/x: the key is unknown",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {}\n":                                      "deployment/web has no spec.template",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: none}\n":                                  "read the pod of pod/web",
		"apiVersion: v1\nkind: List\nitems: [1]\n":                                                                      "item 0 of the list is no object",
		plainPod + "spec: {containers: [{name: app}]}\n":                                                                "line 5 has it a second time",
	}
	for text, words := range tests {
		var out bytes.Buffer
		outcomes, err := workload.Inject(strings.NewReader(text), &out, options())
		if err == nil || !strings.Contains(err.Error(), words) || out.Len() > 0 || outcomes != nil {
			t.Errorf("%q: %v, %d bytes written; want an error with %q and nothing", text, err, out.Len(), words)
		}
	}
}

func FuzzInject(f *testing.F) {
	f.Add(plainPod)
	f.Add("--- {apiVersion: v1, kind: List, items: [{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: &a {}}}}}}]}\n---\n*a")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		outcomes, err := workload.Inject(strings.NewReader(text), &out, options())
		if err != nil {
			return
		}
		changed := false
		for _, o := range outcomes {
			changed = changed || o.Changed
		}
		if !changed && out.String() != text {
			t.Errorf("nothing changed, and %q became %q", text, out.String())
		}
		if again, _ := run(t, out.String()); again != out.String() {
			t.Errorf("a second pass changes %q to %q", out.String(), again)
		}
		back(t, out.String())
	})
}
