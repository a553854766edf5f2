// SPDX-License-Identifier: Apache-2.0

package loop

import "testing"

// TestLeastBusy: a worker is added when the others are busy, not before, and a
// burst does not go where the load already is.
func TestLeastBusy(t *testing.T) {
	for name, c := range map[string]struct {
		workers []standing
		want    int
	}{
		"the first":                     {[]standing{{}, {}, {}}, 0},
		"no more than needed":           {[]standing{{100, 0.5}, {}, {}}, 0},
		"one more":                      {[]standing{{100, 0.75}, {}, {}}, 1},
		"fewest connections":            {[]standing{{100, 0.1}, {7, 0.7}, {}}, 1},
		"not the busy one":              {[]standing{{100, 0.1}, {7, 0.8}, {}}, 0},
		"a busy one that has none left": {[]standing{{100, 0.9}, {0, 0.9}, {0, 0.1}}, 2},
		"all busy":                      {[]standing{{5, 1}, {100, 0.8}, {1, 0.9}}, 1},
	} {
		if got := first(len(c.workers), func(i int) standing { return c.workers[i] }); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
