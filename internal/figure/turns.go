// SPDX-License-Identifier: Apache-2.0

package figure

import "slices"

// Ratios divides turn by turn.
func Ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// Median returns the middle one, of two the higher; there has to be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
