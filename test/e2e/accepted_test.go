// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// goldens are the pods that the pure injector makes.
const goldens = "../../webhook/inject/testdata/*.injected.yaml"

const golden = "e2e-golden"

// TestGoldensAreAccepted sends every pod that the injector makes to the API
// server, which checks it and stores nothing.
func TestGoldensAreAccepted(t *testing.T) {
	kubectl(t, "create", "namespace", golden)
	defer kubectl(t, "delete", "namespace", golden, "--wait=false")
	paths, err := filepath.Glob(goldens)
	if err != nil {
		t.Fatal(err)
	}
	var manifests []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// What was refused or skipped is nothing of ours.
		if manifest := string(text); strings.Contains(manifest, "name: shunt-proxy") && !strings.HasPrefix(manifest, "# refused") {
			manifests = append(manifests, inNamespace(manifest))
		}
	}
	if len(manifests) < 10 {
		t.Fatalf("%d goldens in %s", len(manifests), goldens)
	}
	needs(t, manifests)
	_, err = command(2*time.Minute, strings.Join(manifests, "\n---\n"), "kubectl", "-n", golden, "create", "--dry-run=server", "--validate=strict", "-f", "-")
	if err != nil {
		t.Error(err)
	}
	figure("webhook.accepted_goldens", len(manifests), "pods")
}

func inNamespace(manifest string) string {
	return regexp.MustCompile(`(?m)^(\s*)namespace: shop$`).ReplaceAllString(manifest, "${1}namespace: "+golden)
}

// needs makes what pods name and what must exist when they are created.
func needs(t *testing.T, manifests []string) {
	t.Helper()
	var made []string
	for _, match := range regexp.MustCompile(`(?m)^\s*serviceAccountName: (\S+)$`).FindAllStringSubmatch(strings.Join(manifests, "\n"), -1) {
		if account := match[1]; account != "default" && !slices.Contains(made, account) {
			kubectl(t, "-n", golden, "create", "serviceaccount", account)
			made = append(made, account)
		}
	}
}

const restrictedPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"restricted"},"spec":{
"securityContext":{"runAsNonRoot":true,"runAsUser":1000,"seccompProfile":{"type":"RuntimeDefault"}},
"containers":[{"name":"app","image":"none","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`

// TestRestrictedButForTheInitContainer holds that of all that is added to a pod
// only the init container that redirects breaks Pod Security "restricted": nothing
// does where the node redirects.
func TestRestrictedButForTheInitContainer(t *testing.T) {
	const namespace = "e2e-restricted"
	apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels: {shunt.dev/inject: enabled, pod-security.kubernetes.io/warn: restricted}
`, namespace))
	defer kubectl(t, "delete", "namespace", namespace, "--wait=false")
	r, err := connect(t).do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods?dryRun=All", decode[map[string]any](t, restrictedPod))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(r.body), `"shunt-proxy"`) {
		t.Fatalf("not injected: %s", r.body)
	}
	warning := strings.ReplaceAll(strings.Join(r.warnings, " "), `\"`, `"`)
	if capture() != "init" {
		if warning != "" {
			t.Errorf("the node redirects, and the profile is broken: %s", warning)
		}
		return
	}
	names := regexp.MustCompile(`containers? ("[^)]*?") `).FindAllStringSubmatch(warning, -1)
	if len(names) == 0 {
		t.Fatalf("warnings %q name no container, not even shunt-init with its capability", r.warnings)
	}
	for _, name := range names {
		if name[1] != `"shunt-init"` {
			t.Errorf("more than the init container breaks the profile: %s", warning)
		}
	}
	if strings.Contains(warning, "volume") || strings.Contains(warning, "pod ") {
		t.Errorf("more than the init container breaks the profile: %s", warning)
	}
}

// TestNamespaceAndPodTogether applies a labelled namespace and its first pods
// in one go, five times: neither the label nor the annotation may be missed.
func TestNamespaceAndPodTogether(t *testing.T) {
	want := "shunt-validate shunt-proxy"
	if capture() == "init" {
		want = "shunt-init shunt-proxy"
	}
	for i := range 5 {
		name := fmt.Sprintf("e2e-new-%d", i)
		manifest := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels: {shunt.dev/inject: enabled}\n---", name) + barePod("first", name, "{}")
		defer kubectl(t, "delete", "namespace", name, "--wait=false")
		apply(t, manifest)
		if got := kubectl(t, "-n", name, "get", "pod", "first", "-o", "jsonpath={.spec.initContainers[*].name}"); got != want {
			t.Errorf("the first pod of %s has the init containers %q, want %q", name, got, want)
		}
	}
}

// TestOwnerIsTold holds that the owner of a pod says what became of it.
func TestOwnerIsTold(t *testing.T) {
	eventually(t, 20*time.Second, func() string {
		events := kubectl(t, "-n", mesh, "get", "events", "--field-selector=reason=Injected,involvedObject.kind=ReplicaSet", "-o",
			`jsonpath={range .items[*]}{.involvedObject.name}: {.message}{"\n"}{end}`)
		if strings.Contains(events, "echo-") && strings.Contains(events, "shunt-proxy was added, since the pod's namespace says") {
			return ""
		}
		return "no Event on the ReplicaSet of echo:\n" + events
	})
}
