// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// backend is what captures by the way that these tests run over. Where nodes
// capture, they say it.
func backend() string {
	if capture() == "ebpf" {
		return "ebpf"
	}
	return "nftables"
}

// TestWay holds that the other tests show what they are to show: that the
// client is captured by the way that they run over, and by none that was fallen
// back to.
func TestWay(t *testing.T) {
	names := kubectl(t, "-n", mesh, "get", "pod", "client", "-o", "jsonpath={.spec.initContainers[*].name}")
	if byItself := strings.Contains(names, "shunt-init"); byItself != (capture() == "init") {
		t.Errorf("the client has the init containers %s, over %s", names, capture())
	}
	uid := uidOf(t, mesh, "client")
	byPrograms(t, []*witness{{name: "client", uid: uid}}, "app")
	if capture() == "init" {
		return
	}
	type status struct {
		Node string
		Says struct{ Backend, Reason string }
	}
	out, err := command(time.Minute, "", shuntctl, "node", "status", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	all := decode[[]status](t, out)
	for _, s := range all {
		if s.Says.Backend != backend() {
			t.Errorf("%s captures by %s: %s", s.Node, s.Says.Backend, s.Says.Reason)
		}
	}
	if len(all) != len(nodes()) {
		t.Errorf("%d nodes say what they capture by, want %d", len(all), len(nodes()))
	}
}
