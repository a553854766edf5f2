// SPDX-License-Identifier: Apache-2.0

package install_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: "k8s.io", Because: "what it needs of the node is files"},
		deptest.Rule{Of: ".", Not: "github.com/prometheus", Because: "the agent counts events in its own way"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "it installs the plugin and knows no rules"},
		deptest.Rule{Of: ".", Not: deptest.Module + "cni/agent", Because: "the agent imports the installer, never the reverse"},
		deptest.Rule{Of: ".", Not: deptest.Module + "proxy", Because: "components meet in internal/contract"},
		deptest.Rule{Of: ".", Not: "testing", Because: "test doubles are for tests"},
	)
}
