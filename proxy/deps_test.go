// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: "./...", Not: "k8s.io", Because: "the sidecar stays small: it learns of Kubernetes from discovery alone"},
		deptest.Rule{Of: "./...", Not: "sigs.k8s.io", Because: "the sidecar stays small: it learns of Kubernetes from discovery alone"},
		deptest.Rule{Of: "./...", Not: "github.com/envoyproxy", Because: "Envoy's types cost 7 MiB of RSS; internal/xdsapi has the few messages that are read"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "redirect", Because: "components meet in internal/contract and in bytes on the wire"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "webhook", Because: "components meet in internal/contract and in bytes on the wire"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "cni", Because: "components meet in internal/contract and in bytes on the wire"},
		deptest.Rule{Of: "./...", Not: deptest.Module + "discovery", Because: "components meet in internal/contract and in bytes on the wire"},
		deptest.Rule{Of: "../cmd/proxy", Not: deptest.Module + "proxy/sidecartest", Because: "it is for tests alone"},
		deptest.Rule{Of: "./balance", Not: "net/http", Because: "a picker is pure"},
		deptest.Rule{Of: "./route", Not: "net/http", Because: "matching is pure"},
		deptest.Rule{Of: "./sniff", Not: "net", Because: "sniffing is pure", Alone: true},
		deptest.Rule{Of: "./message", Not: "github.com/shuntmesh/shunt", Because: "it is the seam that the protocol cores share"},
		deptest.Rule{Of: "./hpack", Not: "net", Because: "a codec is pure", Alone: true},
		deptest.Rule{Of: "./h1", Not: "net", Because: "a protocol core does no I/O", Alone: true, Direct: true},
		deptest.Rule{Of: "./h2", Not: "net", Because: "a protocol core does no I/O", Alone: true, Direct: true},
		deptest.Rule{Of: "./h1", Not: deptest.Module + "proxy/loop", Because: "a protocol core knows no driver"},
		deptest.Rule{Of: "./h2", Not: deptest.Module + "proxy/loop", Because: "a protocol core knows no driver"},
		deptest.Rule{Of: "./loop", Not: "github.com/shuntmesh/shunt", Because: "the loop knows no protocol"},
		deptest.Rule{Of: "./transport", Not: "net/http", Because: "the data path is ours"},
		deptest.Rule{Of: "./exchange", Not: "net/http", Because: "the data path is ours", Direct: true},
	)
}
