// SPDX-License-Identifier: Apache-2.0

package scenario_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// TestTableIsWhole: each figure belongs to a scenario that measures what it is
// made of, and each name is there once.
func TestTableIsWhole(t *testing.T) {
	byName := map[string]scenario.Scenario{}
	for _, s := range scenario.All() {
		if _, twice := byName[s.Name]; twice || s.About == "" || !slices.Contains(s.Targets, scenario.Shunt) {
			t.Errorf("scenario %q is there twice, or lacks a text or us", s.Name)
		}
		byName[s.Name] = s
	}
	seen := map[string]bool{}
	for _, f := range scenario.Figures() {
		if seen[f.Name] || !strings.HasPrefix(f.Name, "bench.") || f.Unit == "" || f.Goal.Most != 0 && f.Goal.Least != 0 {
			t.Errorf("figure %q is there twice, or lacks its prefix or unit, or has two goals", f.Name)
		}
		seen[f.Name] = true
		s, ok := byName[f.Scenario]
		if !ok {
			t.Errorf("figure %s is of scenario %q, which does not exist", f.Name, f.Scenario)
		}
		v := scenario.Values{}
		for i, target := range s.Targets {
			v[target] = map[scenario.Metric][]float64{}
			for _, m := range scenario.Metrics() {
				v[target][m.Metric] = []float64{float64(i + 1)}
			}
		}
		if got, err := f.Of(v); err != nil || len(got) != 1 {
			t.Errorf("figure %s: %v, %v", f.Name, got, err)
		}
		if _, err := f.Of(scenario.Values{}); !errors.Is(err, scenario.ErrNotMeasured) {
			t.Errorf("figure %s of nothing: %v, want %v", f.Name, err, scenario.ErrNotMeasured)
		}
	}
}

func figure(t *testing.T, name string) scenario.Figure {
	t.Helper()
	for _, f := range scenario.Figures() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no figure %s", name)
	return scenario.Figure{}
}

// TestFigures: what is divided by what.
func TestFigures(t *testing.T) {
	v := scenario.Values{
		scenario.Direct:  {scenario.P50: {100, 200}},
		scenario.HAProxy: {scenario.P50: {200, 400}, scenario.CPU: {8, 16}},
		scenario.Shunt:   {scenario.P50: {120, 300}, scenario.CPU: {2, 8}, scenario.PerConn: {2.048}, scenario.RSS: {12}},
	}
	for name, want := range map[string][]float64{
		"bench.grpc.c8m10.cpu_vs_haproxy":       {0.25, 0.5},
		"bench.grpc.added_p50_vs_haproxy.2krps": {0.2, 0.5},
		"bench.rss_per_1k_h2_conns_mib":         {2},
		"bench.rss_idle_mib":                    {12},
	} {
		got, err := figure(t, name).Of(v)
		if err != nil || !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%s = %v, %v, want %v", name, got, err, want)
		}
	}
	v[scenario.HAProxy][scenario.P50] = []float64{90, 400}
	if got, err := figure(t, "bench.grpc.added_p50_vs_haproxy.2krps").Of(v); err == nil {
		t.Errorf("a peer that is faster than no proxy gives %v", got)
	}
}

func TestGoal(t *testing.T) {
	most, least := scenario.Goal{Most: 0.5}, scenario.Goal{Least: 1.1}
	if !most.Met(0.5) || most.Met(0.51) || !least.Met(1.1) || least.Met(1.09) {
		t.Error("goals are not met where they are")
	}
	none := scenario.Goal{}
	if most.String() != "<= 0.5" || least.String() != ">= 1.1" || none.String() != "-" || !none.Met(7) {
		t.Errorf("goals read %v, %v, %v", most, least, none)
	}
}

// TestQuickIsSmall: no load of a quick run takes more than about a second.
func TestQuickIsSmall(t *testing.T) {
	for _, s := range scenario.All() {
		q := s.Quick()
		if q.Load.Requests > 4000 || q.Load.Duration.Seconds() > 1 || q.Load.Connections > s.Load.Connections {
			t.Errorf("%s: quick load %+v", s.Name, q.Load)
		}
	}
}
