// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go. Tests are exempt: the end to end test
// joins both sides.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: "./...", Not: deptest.Module + "proxy", Because: "control plane and data plane meet on the wire alone"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "webhook", Because: "components don't know each other; what they share is in internal/contract"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "redirect", Because: "components don't know each other; what they share is in internal/contract"},
		deptest.Rule{Of: "./...", Not: "sigs.k8s.io/controller-runtime", Because: "rest and tools/cache do, with a third of the packages"},
		deptest.Rule{Of: "./model", Not: "k8s.io", Because: "the model is neutral: other registries feed it too"},
		deptest.Rule{Of: "./model", Not: "google.golang.org", Because: "the model is neutral: it knows no wire format"},
		deptest.Rule{Of: "./xds", Not: "k8s.io", Because: "informers and API types are in discovery/kube only"},
		deptest.Rule{Of: "./auth", Not: "k8s.io", Because: "the API server is behind auth.Reviewer"},
		deptest.Rule{Of: ".", Not: "k8s.io/client-go/tools/cache", Because: "informers are in discovery/kube only", Direct: true},
		deptest.Rule{Of: "./cluster", Not: "k8s.io/client-go/tools/cache", Because: "informers are in discovery/kube only", Direct: true},
	)
}
