// SPDX-License-Identifier: Apache-2.0

package shuntctl_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDeps(t *testing.T) {
	const module = "github.com/shuntmesh/shunt/"
	forbidden := []struct{ prefix, reason string }{
		{"k8s.io/client-go/kubernetes/typed", "a dozen kinds go through the dynamic client; the typed one has them all"},
		{module + "proxy", "shuntctl packs the data plane's binaries, it doesn't link them"},
		{module + "redirect", "shuntctl packs the data plane's binaries, it doesn't link them"},
		{module + "webhook", "shuntctl installs the control plane, it doesn't link it"},
		{module + "discovery", "shuntctl installs the control plane, it doesn't link it"},
		{module + "test", "the product doesn't need its tests"},
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", "../cmd/shuntctl").CombinedOutput()
	if err != nil {
		t.Fatalf("list dependencies: %v\n%s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, f := range forbidden {
			if dep == f.prefix || strings.HasPrefix(dep, f.prefix+"/") {
				t.Errorf("shuntctl depends on %s: %s", dep, f.reason)
			}
		}
	}
}
