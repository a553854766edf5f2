// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"cmp"
	"slices"
)

// fewSlots is the least bound of a service's slots. A share is off by less than
// one of them, 0.4 % of the connections, where nobody's part is less than one.
const fewSlots = 256

// slotBound returns how many slots so many endpoints have at most: four for each,
// so that weights tell, as long as that is no more than MaxEndpoints.
func slotBound(endpoints int) int {
	return min(max(fewSlots, 4*endpoints), MaxEndpoints)
}

// share returns how many slots each weight gets, of most slots in all; there must
// be no more weights above 0 than that. Weights without a common divisor that come
// to no more are slots as they are. Otherwise the slots are shared out in
// proportion, by the largest remainder, and nobody with a weight gets none.
func share(weights []uint32, most int) []int {
	out := make([]int, len(weights))
	var divisor, total uint64
	for _, w := range weights {
		divisor = gcd(divisor, uint64(w))
		total += uint64(w)
	}
	if total == 0 {
		return out
	}
	if total/divisor <= uint64(most) {
		for i, w := range weights {
			out[i] = int(uint64(w) / divisor)
		}
		return out
	}
	left := uint64(most)
	for settled := true; settled; { // whoever is taken out makes the others' parts smaller
		settled = false
		for i, w := range weights {
			if w > 0 && out[i] == 0 && uint64(w)*left < total {
				out[i], settled = 1, true
				left--
				total -= uint64(w)
			}
		}
	}
	shareProportionally(out, weights, left, total)
	return out
}

// shareProportionally gives slots to those that have none yet, whose weights are
// total.
func shareProportionally(out []int, weights []uint32, slots, total uint64) {
	var open []int
	given := uint64(0)
	for i, w := range weights {
		if w > 0 && out[i] == 0 {
			open = append(open, i)
			out[i] = int(uint64(w) * slots / total)
			given += uint64(out[i])
		}
	}
	remainder := func(i int) uint64 { return uint64(weights[i]) * slots % total }
	slices.SortStableFunc(open, func(i, j int) int { return cmp.Compare(remainder(j), remainder(i)) })
	for _, i := range open[:slots-given] {
		out[i]++
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
