// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDeps(t *testing.T) {
	const module = "github.com/shuntmesh/shunt/"
	forbidden := []struct{ prefix, reason string }{
		{"k8s.io/client-go", "inject is pure: it never talks to an API server"},
		{module + "proxy", "the webhook names the proxy's image and flags, it doesn't link it"},
		{module + "discovery", "discovery is reached by address alone"},
		{module + "redirect", "the redirection is spoken to by its command line"},
		{module + "webhook/operate", "imports go from operate to inject, never back"},
		{"text/template", "a pod is built from Go structs, so that a value can't break out of its field"},
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("list dependencies: %v\n%s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, f := range forbidden {
			if dep == f.prefix || strings.HasPrefix(dep, f.prefix+"/") {
				t.Errorf("webhook/inject depends on %s: %s", dep, f.reason)
			}
		}
	}
}
