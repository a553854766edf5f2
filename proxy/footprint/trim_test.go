// SPDX-License-Identifier: Apache-2.0

package footprint

import "testing"

// TestTrimWhenQuiet: once after each burst, never during one.
func TestTrimWhenQuiet(t *testing.T) {
	const burst, trickle = 10_000, quiet
	trim := trimmer{allocated: 1 << 20}
	var turns, allocated uint64 = 0, 1 << 20
	for i, step := range []struct {
		turns, allocated uint64
		due              bool
	}{
		{burst, 8 << 20, false},
		{trickle + 1, 0, false},
		{trickle, 0, true},
		{trickle, 1 << 10, false},
		{0, worthwhile, true},
		{0, 0, false},
	} {
		turns += step.turns
		allocated += step.allocated
		due := trim.due(turns, allocated)
		if due != step.due {
			t.Errorf("step %d: due %v", i, due)
		}
		if due {
			trim.allocated = allocated
		}
	}
}
