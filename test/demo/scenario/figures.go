// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// result is all that a run measures.
type result struct {
	beforeMaxShare   float64
	afterMaxOverFair []float64 // 3 replicas, 6 replicas, after the rollout
	scaleUp          time.Duration
	failedCalls      int
	exitInFlight     int
	exitOther        int
	memory           memory
	total            time.Duration
}

// figure is one line of the demo's end, and the goal that it has to reach.
type figure struct {
	name     string
	value    float64
	decimals int
	unit     string
	least    float64
	most     float64
	goal     string // the sentence for a figure out of [least, most]; "" when it has no goal
}

func (r result) figures() []figure {
	return []figure{
		{name: "demo.before.max_share", value: r.beforeMaxShare, decimals: 2, unit: "ratio", least: 0.995, most: 1, goal: "without the mesh one pod has to get all calls of one connection"},
		{name: "demo.after.max_over_fair", value: slices.Max(append(r.afterMaxOverFair, 0)), decimals: 3, unit: "ratio", least: 1, most: 1.05, goal: "no pod may get more than 1.05 of its fair share"},
		{name: "demo.scaleup_seconds", value: r.scaleUp.Seconds(), decimals: 2, unit: "s", most: 3, goal: "a new pod has to get 0.8 of its share within 3 s"},
		{name: "demo.failed_calls", value: float64(r.failedCalls), unit: "calls", goal: "no call may fail while servers are added and rolled"},
		{name: "demo.exit_at_once.failed_in_flight", value: float64(r.exitInFlight), unit: "calls"},
		{name: "demo.exit_at_once.failed_other", value: float64(r.exitOther), unit: "calls", goal: "only calls in flight at a server's exit may fail"},
		{name: "demo.proxy_rss_mib", value: r.memory.rss, decimals: 1, unit: "MiB", most: 20, goal: "the client's proxy may take 20 MiB"},
		{name: "demo.proxy_private_mib", value: r.memory.private, decimals: 1, unit: "MiB"},
		{name: "demo.seconds_total", value: r.total.Seconds(), unit: "s"},
	}
}

// printFigures writes a line for each figure, in the form that machines read.
func printFigures(w io.Writer, figures []figure) {
	for _, f := range figures {
		fmt.Fprintf(w, "FIGURE %s %.*f %s\n", f.name, f.decimals, f.value, f.unit)
	}
}

// checkGoals names every goal that was missed.
func checkGoals(figures []figure) error {
	var missed []error
	for _, f := range figures {
		if f.goal != "" && (f.value < f.least || f.value > f.most) {
			missed = append(missed, fmt.Errorf("%s is %.*f %s: %s", f.name, f.decimals, f.value, f.unit, f.goal))
		}
	}
	return errors.Join(missed...)
}
