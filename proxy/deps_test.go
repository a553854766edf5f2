// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/shuntmesh/shunt/"

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	for _, rule := range []struct{ packages, not, because string }{
		{"./...", "k8s.io/", "the sidecar stays small: it learns of Kubernetes from discovery alone"},
		{"./...", "sigs.k8s.io/", "the sidecar stays small: it learns of Kubernetes from discovery alone"},
		{"./...", module + "redirect", "components meet in internal/contract and in bytes on the wire"},
		{"./...", module + "webhook", "components meet in internal/contract and in bytes on the wire"},
		{"./...", module + "cni", "components meet in internal/contract and in bytes on the wire"},
		{"./...", module + "discovery", "components meet in internal/contract and in bytes on the wire"},
		{"./balance", "net/http", "a picker is pure"},
		{"./route", "net/http", "matching is pure"},
		{"./sniff", "net", "sniffing is pure"},
		{"./...", "github.com/envoyproxy/", "Envoy's types cost 7 MiB of RSS; internal/xdsapi has the few messages that are read"},
		{"./attempt", "net/http", "it outlives the engine of net/http"},
		{"./detect", module + "proxy/l7", "the engine is replaced whole"},
		{"./tcp", module + "proxy/l7", "the engine is replaced whole"},
		{"./xds", module + "proxy/l7", "the engine is replaced whole"},
		{"./admin", module + "proxy/l7", "the engine is replaced whole"},
	} {
		for _, dep := range dependencies(t, rule.packages) {
			if dep == rule.not || strings.HasSuffix(rule.not, "/") && strings.HasPrefix(dep, rule.not) || strings.HasPrefix(dep, rule.not+"/") && rule.not != "net" {
				t.Errorf("proxy/%s depends on %s: %s", strings.TrimPrefix(rule.packages, "./"), dep, rule.because)
			}
		}
	}
}

func dependencies(t *testing.T, packages string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", packages).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, out)
	}
	return strings.Fields(string(out))
}
