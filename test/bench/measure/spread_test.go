// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"math"
	"slices"
	"testing"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

func TestMedianAndSpread(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want measure.Spread
	}{
		{[]float64{3}, measure.Spread{Median: 3, Low: 3, High: 3, Count: 1}},
		{[]float64{4, 1}, measure.Spread{Median: 2.5, Low: 1, High: 4, Count: 2}},
		{[]float64{9, 1, 5}, measure.Spread{Median: 5, Low: 1, High: 9, Count: 3}},
		{[]float64{9, 1, 5, 100}, measure.Spread{Median: 7, Low: 1, High: 100, Count: 4}},
		{nil, measure.Spread{}},
	} {
		in := slices.Clone(tt.in)
		if got := measure.NewSpread(in); got != tt.want {
			t.Errorf("NewSpread(%v) = %+v, want %+v", tt.in, got, tt.want)
		}
		if !slices.Equal(in, tt.in) {
			t.Errorf("NewSpread changed the order of %v to %v", tt.in, in)
		}
	}
	if got := measure.Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestPercentile(t *testing.T) {
	values := make([]int, 100)
	for i := range values {
		values[i] = i + 1
	}
	for fraction, want := range map[float64]int{0: 1, 0.5: 50, 0.99: 99, 0.991: 100, 1: 100} {
		if got, ok := measure.Percentile(values, fraction); !ok || got != want {
			t.Errorf("Percentile(1..100, %v) = %v, %v, want %v", fraction, got, ok, want)
		}
	}
	if _, ok := measure.Percentile([]int{}, 0.5); ok {
		t.Error("nothing has a percentile")
	}
}

// TestRatios: each repetition is divided by its own. The machine gets twice as
// slow in the second, which the ratio of the medians would show.
func TestRatios(t *testing.T) {
	got, err := measure.Ratios([]float64{1, 2, 1}, []float64{4, 8, 2})
	if err != nil || !slices.Equal(got, []float64{0.25, 0.25, 0.5}) {
		t.Errorf("Ratios: %v, %v", got, err)
	}
	for _, bad := range [][2][]float64{
		{{1, 2}, {1}}, {nil, nil}, {{1}, {0}}, {{1}, {-1}},
	} {
		if got, err := measure.Ratios(bad[0], bad[1]); err == nil {
			t.Errorf("Ratios(%v) = %v, want an error", bad, got)
		}
	}
	if got, err := measure.Added([]float64{5, 7}, []float64{3, 8}); err != nil || !slices.Equal(got, []float64{2, -1}) {
		t.Errorf("Added: %v, %v", got, err)
	}
	if _, err := measure.Added([]float64{5}, nil); err == nil {
		t.Error("Added takes repetitions that were not measured")
	}
}
