// SPDX-License-Identifier: Apache-2.0

package layout_test

import (
	"fmt"
	"testing"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

func ExampleNodes() {
	for _, n := range layout.Nodes(2) {
		fmt.Println(n.Name, n.Address, n.PodCIDR, n.Cgroup())
	}
	// Output:
	// n1 172.30.0.11 10.88.1.0/24 /shunt-node1
	// n2 172.30.0.12 10.88.2.0/24 /shunt-node2
}

func TestOurs(t *testing.T) {
	for name, want := range map[string]bool{
		"shunt-cp": true, "shunt-out": true, "shunt-n1": true, "shunt-node2": true, "shunt-br0": true, "shunt-host": true,
		"shunt-n0": false, "shunt-n10": false, "shunt-test": false, "shunt": false, "my-shunt-n1": false, "": false,
	} {
		if got := layout.Ours(name); got != want {
			t.Errorf("Ours(%q) = %t, want %t", name, got, want)
		}
	}
}

// TestNodesAreOurs holds that what a cluster makes is found again by its name.
func TestNodesAreOurs(t *testing.T) {
	for _, n := range layout.Nodes(layout.MaxNodes) {
		if !layout.Ours(layout.NetNS(n.Name)) || !layout.Ours(n.Cgroup()[1:]) {
			t.Errorf("node %s: %s or %s is not ours", n.Name, layout.NetNS(n.Name), n.Cgroup())
		}
	}
}
