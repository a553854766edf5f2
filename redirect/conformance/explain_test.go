// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

// TestExplainAgrees holds redirect.Explain to the contract. That packets do too
// is for TestMatrix to show.
func TestExplainAgrees(t *testing.T) {
	for _, s := range conformance.Settings() {
		for _, c := range s.Cells() {
			got, err := c.Explained()
			if err != nil {
				t.Fatal(err)
			}
			if want := c.Want().At; got != want {
				t.Errorf("%v: explained to arrive at %s, want %s", c, got, want)
			}
		}
	}
}
