// SPDX-License-Identifier: Apache-2.0

package conflist_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: "os", Direct: true, Because: "deciding reads and writes nothing"},
		deptest.Rule{Of: ".", Not: "time", Direct: true, Because: "deciding knows no time"},
		deptest.Rule{Of: ".", Not: "github.com/fsnotify", Because: "deciding watches nothing"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "a list says nothing of rules"},
		deptest.Rule{Of: ".", Not: "k8s.io", Because: "what it needs of the node is files"},
	)
}
