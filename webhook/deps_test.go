// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: "k8s.io/client-go", Because: "only webhook/operate talks to the API server: a review must not wait for one"},
		deptest.Rule{Of: ".", Not: deptest.Module + "proxy", Because: "the webhook names the proxy's image and flags, it doesn't link it"},
		deptest.Rule{Of: ".", Not: deptest.Module + "discovery", Because: "discovery is reached by address alone"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "the redirection is spoken to by its command line"},
		deptest.Rule{Of: ".", Not: deptest.Module + "webhook/operate", Because: "what needs the API server is handed in, so that the server runs without one"},
		deptest.Rule{Of: "./inject/...", Not: "k8s.io/client-go", Because: "inject is pure: it never talks to an API server"},
		deptest.Rule{Of: "./inject/...", Not: deptest.Module + "webhook", Alone: true, Because: "imports go from webhook to inject, never back"},
		deptest.Rule{Of: "./inject/...", Not: deptest.Module + "webhook/operate", Because: "inject is pure: what it must know of the cluster is handed in"},
		deptest.Rule{Of: "./inject/annotation", Not: deptest.Module + "webhook/inject", Alone: true, Because: "annotations are read before anything is decided"},
		deptest.Rule{Of: "./inject/...", Not: "text/template", Because: "a pod is built from Go structs, so that a value can't break out of its field"},
		deptest.Rule{Of: "./operate", Not: "k8s.io/client-go/informers", Because: "a reflector fills our own store, which keeps only what is asked for: informers cache whole objects"},
		deptest.Rule{Of: "./operate", Not: "k8s.io/client-go/kubernetes", Because: "its clients register every API group: 10 MiB of binary and 7 MiB of memory"},
		deptest.Rule{Of: "./operate", Not: "k8s.io/client-go/gentype", Because: "it links the fakes of tests and OpenAPI: 2 MiB of memory"},
		deptest.Rule{Of: "./operate", Not: "k8s.io/client-go/dynamic", Because: "typed clients say at compile time what is sent"},
		deptest.Rule{Of: "./operate", Not: "sigs.k8s.io/controller-runtime", Because: "a few loops need no framework"},
		deptest.Rule{Of: "./operate", Not: deptest.Module + "webhook", Because: "package webhook is handed what it needs; the two meet in cmd/webhook"},
	)
}
