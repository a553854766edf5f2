// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/controlplane"
	"github.com/shuntmesh/shunt/test/cluster/golden"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/pki"
)

func TestSpec(t *testing.T) {
	text, err := json.MarshalIndent(controlplane.Spec("/state", "/bin", []string{"/cgroup/join"}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "spec.json", string(text)+"\n")
}

func TestCertify(t *testing.T) {
	state := layout.State(t.TempDir())
	authority, err := pki.NewAuthority(state.Path("pki"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := controlplane.Certify(authority, state); err != nil {
		t.Fatal(err)
	}
	// A second run must not trip over the files of the first.
	if err := controlplane.Certify(authority, state); err != nil {
		t.Fatal(err)
	}
}
