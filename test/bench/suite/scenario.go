// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/test/bench/report"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// sample is what one repetition of one target gave.
type sample map[scenario.Metric]float64

// trial makes one repetition of one target.
type trial func(ctx context.Context, target string) (sample, error)

// prepare brings up what a scenario keeps for all its repetitions. A target
// that can't be brought up is in broken.
func (r *run) prepare(ctx context.Context, s scenario.Scenario, targets []string) (t trial, broken map[string]error, stop func() error, err error) {
	none := func() error { return nil }
	switch s.Kind {
	case scenario.Churn:
		return func(ctx context.Context, _ string) (sample, error) { return r.churn(ctx, s) }, nil, none, nil
	case scenario.IdleConns:
		return func(ctx context.Context, target string) (sample, error) { return r.idleConns(ctx, s, target) }, nil, none, nil
	case scenario.Idle:
		return func(ctx context.Context, _ string) (sample, error) { return r.idle(ctx) }, nil, none, nil
	case scenario.Known:
		return func(ctx context.Context, _ string) (sample, error) { return r.known(ctx) }, nil, none, nil
	default:
		st, err := r.stand(ctx, s, targets)
		if err != nil {
			return nil, nil, none, err
		}
		return st.trial, st.broken, st.stop, nil
	}
}

// scenario measures one row: in each repetition each target once, in an order
// that rotates. It returns an error only when ctx ends.
func (r *run) scenario(ctx context.Context, s scenario.Scenario) error {
	if r.Quick {
		s = s.Quick()
	}
	targets := r.targets(s)
	out := report.Scenario{Name: s.Name, About: s.About, Targets: targets, Values: scenario.Values{}}
	r.progress("%s: %s", s.Name, s.About)
	measure, broken, stop, err := r.prepare(ctx, s, targets)
	if err != nil {
		r.left(s.Name, err.Error(), true)
		return ctx.Err()
	}
	if broken == nil {
		broken = map[string]error{}
	}
	for rep := range r.Reps {
		for i := range targets {
			target := targets[(i+rep)%len(targets)]
			if broken[target] != nil || ctx.Err() != nil {
				continue
			}
			values, err := measure(ctx, target)
			if err != nil {
				broken[target] = err
				continue
			}
			r.progress("%s %d/%d %-12s %s", s.Name, rep+1, r.Reps, target, line(values))
			keep(out.Values, target, values)
		}
	}
	if err := stop(); err != nil && ctx.Err() == nil {
		r.left(s.Name, err.Error(), true)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("measure %s: %w", s.Name, context.Cause(ctx))
	}
	for _, target := range slices.Sorted(maps.Keys(broken)) {
		delete(out.Values, target) // repetitions of others would not be compared with the same ones
		r.left(s.Name+" of "+target, broken[target].Error(), true)
	}
	r.result.Scenarios = append(r.result.Scenarios, out)
	return nil
}

func keep(into scenario.Values, target string, s sample) {
	if into[target] == nil {
		into[target] = map[scenario.Metric][]float64{}
	}
	for m, v := range s {
		into[target][m] = append(into[target][m], v)
	}
}

func line(s sample) string {
	var out []string
	for _, m := range scenario.Metrics() {
		if v, ok := s[m.Metric]; ok {
			out = append(out, fmt.Sprintf("%s %.4g", m.Metric, v))
		}
	}
	return strings.Join(out, "  ")
}
