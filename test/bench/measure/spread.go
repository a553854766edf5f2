// SPDX-License-Identifier: Apache-2.0

// Package measure reads what processes cost (CPU, memory, their own counters)
// and does the arithmetic over repetitions. It reads /proc and changes nothing.
package measure

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Spread is what repetitions of one measurement gave.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Count  int     `json:"count"`
}

// NewSpread returns the zero Spread for no values.
func NewSpread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{Median: Median(values), Low: slices.Min(values), High: slices.Max(values), Count: len(values)}
}

// Median returns NaN for no values. It leaves their order alone.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Percentile returns the smallest value that at least the fraction of all
// values does not exceed (nearest rank); sorted is in ascending order.
func Percentile[T any](sorted []T, fraction float64) (T, bool) {
	var zero T
	if len(sorted) == 0 {
		return zero, false
	}
	rank := int(math.Ceil(fraction * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1], true
}

// Ratios divides a by b, repetition by repetition. What was measured within one
// repetition saw the same neighbours, so the median of the ratios drifts less
// than the ratio of the medians.
func Ratios(a, b []float64) ([]float64, error) {
	if len(a) != len(b) {
		return nil, fmt.Errorf("divide %d repetitions by %d (both must have been measured in each)", len(a), len(b))
	}
	if len(a) == 0 {
		return nil, errors.New("divide no repetitions")
	}
	out := make([]float64, len(a))
	for i := range a {
		if b[i] <= 0 {
			return nil, fmt.Errorf("divide by %v in repetition %d", b[i], i+1)
		}
		out[i] = a[i] / b[i]
	}
	return out, nil
}

// Added subtracts what the measurement gives without a proxy.
func Added(with, without []float64) ([]float64, error) {
	if len(with) != len(without) {
		return nil, fmt.Errorf("subtract %d repetitions from %d (both must have been measured in each)", len(without), len(with))
	}
	out := make([]float64, len(with))
	for i := range with {
		out[i] = with[i] - without[i]
	}
	return out, nil
}
