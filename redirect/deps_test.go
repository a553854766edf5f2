// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDeps holds which way imports go.
func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "backends import the model, never the reverse"},
		deptest.Rule{Of: ".", Not: "github.com/google/nftables", Because: "the model is pure: a backend talks to the kernel"},
		deptest.Rule{Of: ".", Not: "github.com/vishvananda", Because: "the model is pure: a backend talks to the kernel"},
		deptest.Rule{Of: ".", Not: "github.com/mdlayher", Because: "the model is pure: a backend talks to the kernel"},
		deptest.Rule{Of: ".", Not: "golang.org/x/sys", Because: "the model is pure and builds on every system"},
		deptest.Rule{Of: ".", Not: "os/exec", Because: "deciding forks nothing"},
		deptest.Rule{Of: ".", Not: "github.com/coreos", Because: "the model is pure: a backend talks to the kernel"},
		deptest.Rule{Of: ".", Not: "net/http", Because: "deciding needs no network"},
		deptest.Rule{Of: ".", Not: "github.com/cilium", Because: "the model is pure: a backend talks to the kernel"},
		deptest.Rule{Of: "./ebpf", Not: deptest.Module + "redirect/cli", Because: "the command imports the backend, never the reverse"},
		deptest.Rule{Of: "./ebpf", Not: deptest.Module + "redirect/nftables", Because: "backends know nothing of each other; the command chooses"},
		deptest.Rule{Of: "./ebpf", Not: deptest.Module + "redirect/iptables", Because: "backends know nothing of each other; the command chooses"},
		deptest.Rule{Of: "./ebpf", Not: "os/exec", Because: "objects are committed: nothing is compiled or run on a node", Direct: true},
		deptest.Rule{Of: "./nftables", Not: deptest.Module + "redirect/cli", Because: "the command imports the backend, never the reverse"},
		deptest.Rule{Of: "./backends", Not: deptest.Module + "redirect/cli", Because: "the command chooses through it, and so does the node's plugin"},
		deptest.Rule{Of: "./backends", Not: deptest.Module + "redirect/flags", Because: "choosing takes a name, whoever read it"},
		deptest.Rule{Of: "./nftables", Not: "os/exec", Because: "the image has no nft binary, and a fork would cost more than the change"},
		deptest.Rule{Of: "./nftables", Not: deptest.Module + "redirect/iptables", Because: "backends know nothing of each other; the command chooses"},
		deptest.Rule{Of: "./iptables", Not: deptest.Module + "redirect/nftables", Because: "backends know nothing of each other; the command chooses"},
		deptest.Rule{Of: "./iptables", Not: deptest.Module + "redirect/cli", Because: "the command imports the backend, never the reverse"},
		deptest.Rule{Of: "./validate", Not: deptest.Module + "redirect/nftables", Because: "a proof by connections holds for every backend, and knows none"},
		deptest.Rule{Of: "./validate", Not: deptest.Module + "redirect/iptables", Because: "a proof by connections holds for every backend, and knows none"},
		deptest.Rule{Of: "./validate", Not: "os/exec", Because: "it runs in a container without a program beside it"},
		deptest.Rule{Of: "../cmd/redirect", Not: deptest.Module + "proxy", Because: "redirect is its own binary in the data plane image; components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/redirect", Not: deptest.Module + "webhook", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/redirect", Not: deptest.Module + "discovery", Because: "components meet in internal/contract"},
		deptest.Rule{Of: "../cmd/redirect", Not: deptest.Module + "redirect/ebpf", Because: "its programs are the node's; a pod's init container would carry a megabyte for nothing"},
		deptest.Rule{Of: "../cmd/redirect", Not: deptest.Module + "cni", Because: "cni imports redirect, never the reverse"},
		deptest.Rule{Of: "../cmd/redirect", Not: "k8s.io", Because: "the init container needs no API, and would pay for it in size and start"},
		deptest.Rule{Of: "../cmd/redirect", Not: "testing", Because: "testnet is for tests"},
	)
}
