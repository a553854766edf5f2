// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDeps(t *testing.T) {
	const module = "github.com/shuntmesh/shunt/"
	forbidden := []struct{ prefix, reason string }{
		{"k8s.io/client-go", "only webhook/operate talks to the API server: a review must not wait for one"},
		{module + "proxy", "the webhook names the proxy's image and flags, it doesn't link it"},
		{module + "discovery", "discovery is reached by address alone"},
		{module + "redirect", "the redirection is spoken to by its command line"},
		{module + "webhook/operate", "what needs the API server is handed in, so that the server runs without one"},
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("list dependencies: %v\n%s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, f := range forbidden {
			if dep == f.prefix || strings.HasPrefix(dep, f.prefix+"/") {
				t.Errorf("webhook depends on %s: %s", dep, f.reason)
			}
		}
	}
}
