// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import "testing"

// part is one test among others.
type part struct {
	name string
	run  func(*testing.T)
}

// TestSideBySide runs what mostly waits (for probes, Jobs, the guard's round) and
// takes nothing away from others: in each lane one test after the other, and the
// lanes at once. Whoever replaces the control plane, counts at a pod that others
// call or measures a rate or a time is a test of its own.
func TestSideBySide(t *testing.T) {
	lanes := []struct {
		name  string
		parts []part
	}{
		{"admission", []part{{"RolloutOfTheWebhook", testRolloutOfTheWebhook}}},
		{"late", []part{{"TCPProbes", testTCPProbes}}},
		{"scraped", []part{{"MergedMetrics", testMergedMetrics}, {"Probes", testProbes}}},
		{"ends", []part{{"ClassicOrder", testClassicOrder}, {"CronJobsComplete", testCronJobsComplete}}},
	}
	for _, lane := range lanes {
		t.Run(lane.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range lane.parts {
				t.Run(p.name, p.run)
			}
		})
	}
}
