// SPDX-License-Identifier: Apache-2.0

package prereq

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMissing(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	packages, names := missing([]need{{"a", yes, "pa"}, {"b", no, "pb"}, {"c", no, "pb"}, {"d", no, "pd"}})
	if diff := cmp.Diff([]string{"pb", "pd"}, packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "c", "d"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
