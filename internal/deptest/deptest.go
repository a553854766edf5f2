// SPDX-License-Identifier: Apache-2.0

// Package deptest lets the test of a component hold which way imports go, with
// the reason in the message. It runs the go command and is for tests alone.
package deptest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Module is the prefix of our own import paths.
const Module = "github.com/shuntmesh/shunt/"

// Rule refuses a dependency.
type Rule struct {
	Of      string // pattern of packages, as for go list, from the test's folder: ".", "./..."
	Not     string // import path that they may not depend on, nor on what is below it
	Because string
	Alone   bool // Not alone is refused, not what is below it
	Direct  bool // only to import it is refused, not to depend on what does
}

// Check fails the test for each dependency that a rule refuses. Dependencies of
// tests don't count, and a package may depend on itself.
func Check(t *testing.T, rules ...Rule) {
	t.Helper()
	for _, r := range rules {
		args := []string{"list", "-deps", "-f", "{{.ImportPath}}", r.Of}
		if r.Direct {
			args = []string{"list", "-f", `{{join .Imports "\n"}}`, r.Of}
		}
		own := list(t, "list", r.Of)
		for _, dep := range list(t, args...) {
			if r.refuses(dep) && !slices.Contains(own, dep) {
				t.Errorf("%s depends on %s: %s", own[0], dep, r.Because)
			}
		}
	}
}

func (r Rule) refuses(dep string) bool {
	return dep == r.Not || !r.Alone && strings.HasPrefix(dep, r.Not+"/")
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}
