// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: "./...", Not: deptest.Module + "proxy", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "discovery", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "webhook", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "shuntctl", Because: "a command line is no library"},
		deptest.Rule{Of: ".", Not: deptest.Module + "cni/install", Because: "an installer is handed in"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "redirect/cli", Because: "rules are applied by redirect/backends, not by a command"},
		deptest.Rule{Of: "./...", Not: "k8s.io/client-go/informers", Because: "a reflector fills our own store, which keeps only what is asked for: informers cache whole objects"},
		deptest.Rule{Of: "./...", Not: "k8s.io/client-go/kubernetes", Because: "its clients register every API group: 10 MiB of binary and 7 MiB of memory"},
		deptest.Rule{Of: "./repair", Not: deptest.Module + "cni/agent/socket", Because: "repair knows pods and namespaces, and no plugin"},
		deptest.Rule{Of: "../../cmd/cni", Not: deptest.Module + "cni/agent", Because: "the plugin is started for each pod: it asks no discovery"},
		deptest.Rule{Of: "../../cmd/agent", Not: "google.golang.org/grpc", Because: "for one stream it costs 6 MiB of binary and 5 MiB of memory on each node: services speaks it over net/http"},
		deptest.Rule{Of: "./services", Not: "github.com/envoyproxy", Because: "internal/xdsapi has the few messages: Envoy's types cost 7 MiB of memory"},
		deptest.Rule{Of: "../../cmd/agent", Not: deptest.Module + "cni/agent/podtest", Because: "it is for tests"},
	)
}
