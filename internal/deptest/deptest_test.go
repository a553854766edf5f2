// SPDX-License-Identifier: Apache-2.0

package deptest

import "testing"

func TestRefuses(t *testing.T) {
	tests := []struct {
		rule Rule
		dep  string
		want bool
	}{
		{Rule{Not: "net"}, "net", true},
		{Rule{Not: "net"}, "net/http", true},
		{Rule{Not: "net"}, "network", false},
		{Rule{Not: "net", Alone: true}, "net", true},
		{Rule{Not: "net", Alone: true}, "net/netip", false},
	}
	for _, tt := range tests {
		if got := tt.rule.refuses(tt.dep); got != tt.want {
			t.Errorf("%+v refuses %s: %v, want %v", tt.rule, tt.dep, got, tt.want)
		}
	}
}

// TestCheck holds that the go command is asked rightly: this package depends on
// os/exec and not on net/http.
func TestCheck(t *testing.T) {
	Check(t, Rule{Of: ".", Not: "net/http", Because: "it lists packages"})
	deps := list(t, "list", "-deps", "-f", "{{.ImportPath}}", ".")
	if len(deps) < 10 {
		t.Errorf("go list names %d dependencies: %v", len(deps), deps)
	}
}
