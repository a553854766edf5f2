// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDeps(t *testing.T) {
	const module = "github.com/shuntmesh/shunt/"
	forbidden := []struct{ prefix, reason string }{
		{"k8s.io/client-go/informers", "one object is watched: informers would list and cache a whole kind"},
		{"k8s.io/client-go/dynamic", "typed clients say at compile time what is sent"},
		{"sigs.k8s.io/controller-runtime", "one loop over one object needs no framework"},
		{module + "webhook", "package webhook is handed what it needs; the two meet in cmd/webhook"},
		{module + "proxy", "the webhook names the proxy's image and flags, it doesn't link it"},
		{module + "discovery", "discovery is reached by address alone"},
		{module + "redirect", "the redirection is spoken to by its command line"},
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("list dependencies: %v\n%s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, f := range forbidden {
			ours := dep == module+"webhook/operate"
			if !ours && (dep == f.prefix || strings.HasPrefix(dep, f.prefix+"/")) {
				t.Errorf("webhook/operate depends on %s: %s", dep, f.reason)
			}
		}
	}
}
