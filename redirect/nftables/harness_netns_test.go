// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

func TestMain(m *testing.M) {
	if testnet.Child() {
		return
	}
	os.Exit(m.Run())
}

func captureAll() redirect.Config {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	return c
}

// newPod makes a pod with its proxy and application, and a node with servers.
func newPod(t *testing.T) (node, pod *testnet.Namespace) {
	node, pod = testnet.Pair(t)
	for _, port := range []string{"15001", "15006"} {
		pod.Listen(t, port, "[::]:"+port)
	}
	for _, port := range []string{"8080", "8081", "9000", "9001", "9010", "9011", "15008"} {
		pod.Listen(t, "app", "[::]:"+port)
	}
	pod.Listen(t, "app", "127.0.0.1:7070")
	pod.Listen(t, "app", "[::1]:7070")
	for _, port := range []string{"80", "9099", "9105"} {
		node.Listen(t, "far", "[::]:"+port)
	}
	return node, pod
}

func apply(t *testing.T, ns *testnet.Namespace, c redirect.Config) (changed bool) {
	t.Helper()
	p := plan(t, c)
	ns.Do(t, func() (err error) {
		changed, err = nftables.Backend{}.Apply(t.Context(), p)
		return err
	})
	return changed
}

func plan(t *testing.T, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
