// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"testing"
)

// TestChangeUnderTraffic goes back and forth between two Configs while
// connections are opened. Each of them has one of its two verdicts: none falls
// between the old rules and the new.
func TestChangeUnderTraffic(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			for _, c := range s.changes(t) {
				if c.Old.Off {
					continue // a pod is not steered and left alone by turns
				}
				b.serve(t, c.While)
				b.apply(t, s, c.Old.Config)
				traffic := b.startTraffic(c)
				for range 2 * rounds(t, c) {
					b.apply(t, s, c.New.Config)
					b.apply(t, s, c.Old.Config)
				}
				probes, wrong := traffic.stop()
				t.Logf("%s: %d connections, %d wrong", c.Name, probes, len(wrong))
				for _, err := range wrong {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		})
	}
}
