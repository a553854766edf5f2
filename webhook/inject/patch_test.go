// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// The patch fits the pod as it came, whichever of its lists are missing, null
// or empty, and keeps what our types don't know.
func TestPatchFitsTheDocument(t *testing.T) {
	tests := map[string]string{
		"nothing there":   `{"metadata":{"new":1},"spec":{"new":{"a":2},"containers":[{"name":"app","new":3}]}}`,
		"empty there":     `{"metadata":{"annotations":{}},"spec":{"initContainers":[],"volumes":[],"imagePullSecrets":[],"containers":[{"name":"app","new":1}],"new":2,"more":{"new":3}}}`,
		"null there":      `{"metadata":{"annotations":null},"spec":{"initContainers":null,"volumes":null,"imagePullSecrets":null,"containers":[{"name":"app","new":1}],"new":2,"more":{"new":3}}}`,
		"something there": `{"metadata":{"annotations":{"a/b~c":"d","shunt.dev/status":"stale"}},"spec":{"initContainers":[{"name":"one","new":1},{"name":"two"}],"volumes":[{"name":"v","new":2}],"imagePullSecrets":[{"name":"s"}],"containers":[{"name":"app","new":3}]}}`,
		"own proxy":       `{"metadata":{},"spec":{"containers":[{"name":"app","new":1},{"name":"shunt-proxy","image":"auto","new":{"new":2},"env":null,"securityContext":{"capabilities":{}}}]}}`,
	}
	for name, object := range tests {
		for _, classic := range []bool{false, true} {
			pod := new(corev1.Pod)
			if err := json.Unmarshal([]byte(object), pod); err != nil {
				t.Fatal(err)
			}
			o := options()
			o.ClassicSidecars, o.PullSecrets = classic, []string{"mesh"}
			d, err := inject.Decide(pod, namespace(), o)
			if err != nil || !d.Injected() {
				t.Fatalf("%s: Decide = %s, %v", name, d.Reason, err)
			}
			out := string(applyTo(t, d.Patch, []byte(object)))
			if got := strings.Count(out, `"new"`); got != 3 {
				t.Errorf("%s: %d of 3 unknown fields survived:\n%s", name, got, out)
			}
			got := new(corev1.Pod)
			if err := json.Unmarshal([]byte(out), got); err != nil {
				t.Fatal(err)
			}
			checkOrder(t, name, got, classic)
		}
	}
}

func checkOrder(t *testing.T, name string, pod *corev1.Pod, classic bool) {
	t.Helper()
	names := func(list []corev1.Container) (out []string) {
		for _, c := range list {
			out = append(out, c.Name)
		}
		return out
	}
	inits, containers := names(pod.Spec.InitContainers), names(pod.Spec.Containers)
	native := len(inits) >= 2 && slices.Equal(inits[:2], []string{"shunt-init", "shunt-proxy"}) && slices.Equal(containers, []string{"app"})
	ordinary := inits[len(inits)-1] == "shunt-init" && slices.Equal(containers, []string{"shunt-proxy", "app"})
	if !classic && !native || classic && !ordinary {
		t.Errorf("%s, classic %v: init containers %v, containers %v", name, classic, inits, containers)
	}
	if last := pod.Spec.ImagePullSecrets[len(pod.Spec.ImagePullSecrets)-1]; last.Name != "mesh" {
		t.Errorf("%s: pull secrets %v", name, pod.Spec.ImagePullSecrets)
	}
}
