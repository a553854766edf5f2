// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/shuntmesh/shunt/"

// TestDeps holds the direction of imports.
func TestDeps(t *testing.T) {
	tests := []struct {
		pkg     string
		refused map[string]string // prefix of an import path -> why
	}{
		{"redirect", map[string]string{
			module + "redirect/":         "backends import the model, never the reverse",
			"github.com/google/nftables": "the model is pure: a backend talks to the kernel",
			"github.com/vishvananda/":    "the model is pure: a backend talks to the kernel",
			"github.com/mdlayher/":       "the model is pure: a backend talks to the kernel",
			"golang.org/x/sys":           "the model is pure and builds on every system",
			"os/exec":                    "deciding forks nothing",
			"net/http":                   "deciding needs no network",
		}},
		{"redirect/nftables", map[string]string{
			module + "redirect/cli": "the command imports the backend, never the reverse",
			"os/exec":               "the image has no nft binary, and a fork would cost more than the change",
		}},
		{"cmd/redirect", map[string]string{
			module + "proxy":     "redirect is its own binary in the data plane image; components meet in internal/contract",
			module + "webhook":   "components meet in internal/contract",
			module + "discovery": "components meet in internal/contract",
			module + "cni":       "cni imports redirect, never the reverse",
			"k8s.io/":            "the init container needs no API, and would pay for it in size and start",
			"testing":            "testnet is for tests",
		}},
	}
	for _, tt := range tests {
		out, err := exec.Command("go", "list", "-deps", module+tt.pkg).Output()
		if err != nil {
			t.Fatalf("list the dependencies of %s: %v", tt.pkg, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			for prefix, why := range tt.refused {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("%s depends on %s, which is refused: %s", tt.pkg, dep, why)
				}
			}
		}
	}
}
