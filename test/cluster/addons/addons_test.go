// SPDX-License-Identifier: Apache-2.0

package addons_test

import (
	"testing"

	"github.com/shuntmesh/shunt/test/cluster/addons"
	"github.com/shuntmesh/shunt/test/cluster/golden"
)

func TestDNS(t *testing.T) {
	manifest, err := addons.DNS()
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "coredns.yaml", manifest)
}
