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
		deptest.Rule{Of: "./balance", Not: "net/http", Because: "a picker is pure"},
		deptest.Rule{Of: "./route", Not: "net/http", Because: "matching is pure"},
		deptest.Rule{Of: "./sniff", Not: "net", Because: "sniffing is pure", Alone: true},
		deptest.Rule{Of: "./attempt", Not: "net/http", Because: "it outlives the engine of net/http"},
		deptest.Rule{Of: "./detect", Not: deptest.Module + "proxy/l7", Because: "the engine is replaced whole"},
		deptest.Rule{Of: "./tcp", Not: deptest.Module + "proxy/l7", Because: "the engine is replaced whole"},
		deptest.Rule{Of: "./xds", Not: deptest.Module + "proxy/l7", Because: "the engine is replaced whole"},
		deptest.Rule{Of: "./admin", Not: deptest.Module + "proxy/l7", Because: "the engine is replaced whole"},
	)
}
