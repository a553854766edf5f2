// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"math"
	"slices"
	"testing"
)

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name    string
		weights []uint32
		most    int
		want    []int
	}{
		{"nobody", nil, 8, []int{}},
		{"no weight", []uint32{0, 0}, 8, []int{0, 0}},
		{"one", []uint32{7}, 8, []int{1}},
		{"equal", []uint32{5, 5, 5}, 8, []int{1, 1, 1}},
		{"small", []uint32{3, 1}, 8, []int{3, 1}},
		{"common divisor", []uint32{300, 100, 0}, 8, []int{3, 1, 0}},
		{"just fits", []uint32{5, 3}, 8, []int{5, 3}},
		{"largest remainder", []uint32{41, 33, 26}, 10, []int{4, 3, 3}},
		{"the first of equal remainders", []uint32{7, 7, 7, 8}, 10, []int{3, 2, 2, 3}},
		{"nobody goes without", []uint32{1, 1000}, 10, []int{1, 9}},
		{"in turn", []uint32{1, 10, 1000}, 10, []int{1, 1, 8}},
		{"the largest weights", []uint32{math.MaxUint32, math.MaxUint32, 1}, 9, []int{4, 4, 1}},
		{"as many as slots", []uint32{9, 1, 2}, 3, []int{1, 1, 1}},
	} {
		if got := share(tt.weights, tt.most); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v in %d slots: %v, want %v", tt.name, tt.weights, tt.most, got, tt.want)
		}
	}
}

// TestShareIsFair holds for any weights: nobody with a weight goes without, a
// larger weight has no fewer slots, and nobody is further from a proportional part
// than one slot and those that were given to parts below one.
func TestShareIsFair(t *testing.T) {
	state := uint32(1)
	next := func(below uint32) uint32 { // xorshift, so that each run is the same
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		return state % below
	}
	for range 2000 {
		weights := make([]uint32, 1+next(40))
		for i := range weights {
			weights[i] = next(1 + next(100_000))
		}
		checkShare(t, weights, slotBound(len(weights)))
	}
}

func checkShare(t *testing.T, weights []uint32, most int) {
	t.Helper()
	got := share(weights, most)
	sum, total, raised := 0, 0.0, 0
	for i, w := range weights {
		total += float64(w)
		sum += got[i]
		if (w > 0) != (got[i] > 0) {
			t.Fatalf("%v: weight %d has %d slots", weights, w, got[i])
		}
	}
	if total == 0 {
		return
	}
	for i, w := range weights {
		if got[i] == 1 && float64(w)*float64(sum) < total {
			raised++
		}
		for j := range weights {
			if w < weights[j] && got[i] > got[j] {
				t.Errorf("%v: weight %d has %d slots, and %d has %d", weights, w, got[i], weights[j], got[j])
			}
		}
	}
	for i, w := range weights {
		part := float64(w) * float64(sum) / total
		if off := math.Abs(float64(got[i]) - part); off > 1+float64(raised) {
			t.Errorf("%v in %d slots: weight %d has %d, its part is %.2f", weights, sum, w, got[i], part)
		}
	}
	if sum > most {
		t.Errorf("%v: %d slots, want %d at most", weights, sum, most)
	}
}
