// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/test/cluster/golden"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/network"
)

func TestPlan(t *testing.T) {
	plan := network.Base()
	nodes := layout.Nodes(3)
	for _, n := range nodes {
		plan = append(plan, network.Join(n, nodes)...)
	}
	var text strings.Builder
	for _, args := range plan {
		text.WriteString(strings.Join(args, " ") + "\n")
	}
	golden.Compare(t, "plan.txt", text.String())
}
