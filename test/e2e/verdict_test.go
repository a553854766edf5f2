// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/judge"
)

// verdict fails for every witness of the mesh that was reached, or got out, past
// its proxy, and prints how many connections those were, of how many.
func (c *court) verdict(t *testing.T) {
	t.Helper()
	report := c.report(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	pods, seen, past := 0, 0, 0
	for _, w := range c.witnesses {
		if !w.captured {
			continue
		}
		pods++
		tally := report.Pods[w.uid]
		in, out := tally.Proxied()
		seen += in + out
		if in, out := tally.Direct(); in+out > 0 {
			past += in + out
			t.Errorf("%s (%s): %d calls and %d dials past its proxy", w.name, w.uid, in, out)
		}
	}
	figure("cni.witnessed_pods", pods, "pods")
	figure("cni.witnessed_connections", seen, "connections")
	figure("cni.uncaptured_started", past, "connections")
	if report.Unread > 0 {
		t.Errorf("the judge did not understand %d of the connections", report.Unread)
	}
}

// lives counts how often the apps of witnesses have started.
func lives(report judge.Report, witnesses []*witness) map[string]int {
	all := map[string]int{}
	for _, w := range witnesses {
		all[w.uid] = len(report.Pods[w.uid].Lives)
	}
	return all
}

// reborn waits until every witness has come to life again since before.
func (c *court) reborn(t *testing.T, witnesses []*witness, before map[string]int, limit time.Duration) {
	t.Helper()
	eventually(t, limit, func() string {
		now := lives(c.report(t), witnesses)
		if maps.EqualFunc(before, now, func(was, is int) bool { return is > was }) {
			return ""
		}
		i := slices.IndexFunc(witnesses, func(w *witness) bool { return now[w.uid] <= before[w.uid] })
		return witnesses[i].name + " has not started again"
	})
}
