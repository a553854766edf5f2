// SPDX-License-Identifier: Apache-2.0

// Package report holds the results of a run: as JSON, as lines for people and
// machines, and as the tables and the plot of the documentation.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Result is one run.
type Result struct {
	Date      time.Time         `json:"date"`
	Kernel    string            `json:"kernel"`
	CPU       string            `json:"cpu"`
	CPUs      int               `json:"cpus"`
	Reps      int               `json:"repetitions"`
	Quick     bool              `json:"quick,omitempty"` // its figures mean nothing
	Versions  map[string]string `json:"versions"`
	Scenarios []Scenario        `json:"scenarios"`
	Figures   []Figure          `json:"figures"`
	Left      []Left            `json:"left,omitempty"`
}

// Scenario is what one row gave.
type Scenario struct {
	Name    string          `json:"name"`
	About   string          `json:"about"`
	Targets []string        `json:"targets"` // in the order of the table
	Values  scenario.Values `json:"values"`
}

// Figure is one number with its goal. The value is the median of repetitions.
type Figure struct {
	Name   string         `json:"name"`
	Unit   string         `json:"unit"`
	Value  measure.Spread `json:"value"`
	Goal   scenario.Goal  `json:"goal"`
	Met    bool           `json:"met"`
	Reason string         `json:"reason,omitempty"` // why there is no value
}

// Left is what was not measured, and why.
type Left struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
	Broken bool   `json:"broken,omitempty"` // it should have been
}

// Judge makes the figures of the scenarios that ran.
func (r *Result) Judge() {
	byName := map[string]scenario.Values{}
	for _, s := range r.Scenarios {
		byName[s.Name] = s.Values
	}
	r.Figures = nil
	for _, f := range scenario.Figures() {
		values, ran := byName[f.Scenario]
		if !ran {
			continue
		}
		out := Figure{Name: f.Name, Unit: f.Unit, Goal: f.Goal}
		got, err := f.Of(values)
		if err != nil {
			out.Reason = err.Error()
		} else {
			out.Value = measure.NewSpread(got)
			out.Met = f.Goal.Met(out.Value.Median)
		}
		r.Figures = append(r.Figures, out)
	}
}

// Missed lists the figures that don't meet their goal, and those without a
// value.
func (r *Result) Missed() []string {
	var out []string
	for _, f := range r.Figures {
		if !f.Met {
			out = append(out, f.Name)
		}
	}
	return out
}

// Broken tells whether something failed that should have been measured.
func (r *Result) Broken() bool {
	for _, l := range r.Left {
		if l.Broken {
			return true
		}
	}
	return false
}

// Write prints the absolute medians, what was left out, and last the figures:
// one line each, `FIGURE <name> <value> <unit>`.
func (r *Result) Write(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n", r.conditions())
	for _, s := range r.Scenarios {
		fmt.Fprintf(out, "%s: %s\n", s.Name, s.About)
		s.table().text(out)
		fmt.Fprintln(out)
	}
	r.judgement().text(out)
	fmt.Fprintln(out)
	for _, l := range r.Left {
		fmt.Fprintf(out, "not measured: %s: %s\n", l.What, l.Reason)
	}
	if r.Quick {
		fmt.Fprintln(out, "A quick run: the figures mean nothing.")
	}
	for _, f := range r.Figures {
		if f.Reason == "" {
			f.write(out)
		}
	}
}

// write prints the median, and of a figure without a goal, which is read beside
// others, its spread too.
func (f Figure) write(out io.Writer) {
	line := func(suffix string, v float64) {
		// One digit more than in tables, so that a miss by little shows.
		text := strconv.FormatFloat(v, 'g', 4, 64)
		if v >= 10_000 {
			text = strconv.FormatFloat(v, 'f', 0, 64) // and no exponent
		}
		fmt.Fprintf(out, "FIGURE %s%s %s %s\n", f.Name, suffix, text, f.Unit)
	}
	line("", f.Value.Median)
	if f.Goal == (scenario.Goal{}) {
		line(".low", f.Value.Low)
		line(".high", f.Value.High)
	}
}

// Save writes the JSON, beside first.
func (r *Result) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return replace(path, append(b, '\n'))
}

// Load reads what Save wrote.
func Load(path string) (*Result, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read results (run the benchmark first): %w", err)
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("decode results of %s: %w", path, err)
	}
	return &r, nil
}

func replace(path string, content []byte) error {
	part := path + ".part"
	if err := os.WriteFile(part, content, 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return os.Rename(part, path)
}
