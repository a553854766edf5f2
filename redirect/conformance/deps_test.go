// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect/nftables", Because: "what is expected knows no backend"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect/iptables", Because: "what is expected knows no backend"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect/cli", Because: "a backend is held to the contract, not to a command"},
		deptest.Rule{Of: ".", Not: deptest.Module + "proxy", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../../cmd/redirect", Not: deptest.Module + "redirect/conformance", Because: "it is for tests"},
	)
}
