// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go, and what each pod's start would pay for.
func TestDeps(t *testing.T) {
	const start = "each pod's start waits for the plugin: it asks no API server, and pays for no client in size and start"
	deptest.Check(t,
		deptest.Rule{Of: "../cmd/cni", Not: "k8s.io", Because: start},
		deptest.Rule{Of: "../cmd/cni", Not: "sigs.k8s.io", Because: start},
		deptest.Rule{Of: "../cmd/cni", Not: "net/http", Because: "it costs 3.5 MB and half a millisecond of each pod's start; two requests to the agent's socket need little of it"},
		deptest.Rule{Of: "../cmd/cni", Not: "google.golang.org", Because: start},
		deptest.Rule{Of: "../cmd/cni", Not: "github.com/prometheus", Because: "a process of milliseconds has no metrics; the agent has them"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "proxy", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "webhook", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "discovery", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "cni/agent", Because: "the agent is another program; plugin and agent meet at a socket"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "cni/install", Because: "the agent installs; they meet in cni/conf"},
		deptest.Rule{Of: "../cmd/cni", Not: deptest.Module + "redirect/cli", Because: "the flags that name files and namespaces are the command's alone"},
		deptest.Rule{Of: "../cmd/cni", Not: "testing", Because: "what is for tests stays there"},
	)
}
