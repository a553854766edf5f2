// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/shuntmesh/shunt/"

// TestDeps holds the direction of imports. Tests are exempt: the end to end
// test joins both sides.
func TestDeps(t *testing.T) {
	rules := []struct {
		pkg, forbidden, reason string
		except                 string // may import it, and so may what imports that
	}{
		{pkg: "./...", forbidden: module + "proxy", reason: "control plane and data plane meet on the wire alone"},
		{pkg: "./...", forbidden: module + "webhook", reason: "components don't know each other; what they share is in internal/contract"},
		{pkg: "./...", forbidden: module + "redirect", reason: "components don't know each other; what they share is in internal/contract"},
		{pkg: "./...", forbidden: "sigs.k8s.io/controller-runtime", reason: "rest and tools/cache do, with a third of the packages"},
		{pkg: "./model", forbidden: "k8s.io", reason: "the model is neutral: other registries feed it too"},
		{pkg: "./model", forbidden: "google.golang.org", reason: "the model is neutral: it knows no wire format"},
		{pkg: "./xds", forbidden: "k8s.io", reason: "informers and API types are in discovery/kube only"},
		{pkg: "./auth", forbidden: "k8s.io", reason: "the API server is behind auth.Reviewer"},
		{pkg: "./...", forbidden: "k8s.io/client-go/tools/cache", except: module + "discovery/kube", reason: "informers are in discovery/kube only"},
	}
	for _, r := range rules {
		for pkg, imports := range listImports(t, r.pkg) {
			for _, imp := range imports {
				if (imp == r.forbidden || strings.HasPrefix(imp, r.forbidden+"/")) && pkg != r.except {
					t.Errorf("%s imports %s: %s", pkg, imp, r.reason)
				}
			}
		}
	}
}

// listImports returns the direct imports of our own packages among the
// dependencies of pkg.
func listImports(t *testing.T, pkg string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, pkg)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if strings.HasPrefix(fields[0], module) {
			found[fields[0]] = fields[1:]
		}
	}
	return found
}
