// SPDX-License-Identifier: Apache-2.0

package shuntctl_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: "../cmd/shuntctl", Not: "k8s.io/client-go/kubernetes/typed", Because: "a dozen kinds go through the dynamic client; the typed one has them all"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "proxy", Because: "shuntctl packs the data plane's binaries, it doesn't link them"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "redirect", Because: "shuntctl packs the data plane's binaries, it doesn't link them"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "webhook", Alone: true, Because: "shuntctl installs the control plane, it doesn't link it; of the webhook it has the pure decision alone"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "webhook/operate", Because: "shuntctl installs the control plane, it doesn't link it"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "discovery", Because: "shuntctl installs the control plane, it doesn't link it"},
		deptest.Rule{Of: "../cmd/shuntctl", Not: deptest.Module + "test", Because: "the product doesn't need its tests"},
	)
}
