// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/shuntmesh/shunt/test/cluster/golden"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/node"
)

func TestRender(t *testing.T) {
	files, err := node.Render(node.Values{
		Node: layout.Nodes(2)[1], State: "/state", DNS: netip.MustParseAddr("10.96.0.10"), DNSDomain: "cluster.local",
		AllPods: layout.PodCIDR, PauseImage: layout.PauseImage, Socket: node.ContainerdSocket,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Errorf("%d files, want 4", len(files))
	}
	for name, text := range files {
		golden.Compare(t, name, text)
	}
	if !json.Valid([]byte(files["10-bridge.conflist"])) {
		t.Error("the CNI configuration is not JSON")
	}
}

func TestSpec(t *testing.T) {
	spec := node.Spec("/state", layout.Nodes(2)[1], "/bin", []string{"/cgroup/join"}, map[string]string{"/b": "/copy/b", "/a": "/copy/a"})
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "spec.json", string(text)+"\n")
}
