// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// table is a header and rows.
type table [][]string

// table has a row per target and a column per metric that any target has.
func (s Scenario) table() table {
	var metrics []scenario.Metric
	header := []string{""}
	for _, m := range scenario.Metrics() {
		if slices.ContainsFunc(s.Targets, func(t string) bool { return len(s.Values[t][m.Metric]) > 0 }) {
			metrics = append(metrics, m.Metric)
			header = append(header, m.Title)
		}
	}
	out := table{header}
	for _, t := range s.Targets {
		if len(s.Values[t]) == 0 {
			continue
		}
		row := []string{t}
		for _, m := range metrics {
			row = append(row, cell(measure.NewSpread(s.Values[t][m])))
		}
		out = append(out, row)
	}
	return out
}

// judgement has a row per figure.
func (r *Result) judgement() table {
	out := table{{"figure", "median", "low to high", "unit", "goal", ""}}
	for _, f := range r.Figures {
		verdict := "miss"
		if f.Met {
			verdict = "pass"
		}
		if f.Goal == (scenario.Goal{}) {
			verdict = ""
		}
		value, spread := number(f.Value.Median), number(f.Value.Low)+" to "+number(f.Value.High)
		if f.Reason != "" {
			value, spread, verdict = "-", "-", f.Reason
		}
		out = append(out, []string{f.Name, value, spread, f.Unit, f.Goal.String(), verdict})
	}
	return out
}

// cell is "7.9 (7.7 to 8.2)".
func cell(s measure.Spread) string {
	switch s.Count {
	case 0:
		return "-"
	case 1:
		return number(s.Median)
	default:
		return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Low), number(s.High))
	}
}

// number has three significant digits, and no exponent.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func (t table) text(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range t {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// markdown aligns numbers to the right.
func (t table) markdown(out io.Writer) {
	for i, row := range t {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
}

// conditions is under what the run was made.
func (r *Result) conditions() string {
	var versions []string
	for name, v := range r.Versions {
		versions = append(versions, name+" "+v)
	}
	slices.Sort(versions)
	return fmt.Sprintf("%s, Linux %s, %d CPUs (%s), %d repetitions; %s",
		r.Date.UTC().Format("2006-01-02"), r.Kernel, r.CPUs, r.CPU, r.Reps, strings.Join(versions, ", "))
}
