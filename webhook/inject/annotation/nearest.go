// SPDX-License-Identifier: Apache-2.0

package annotation

// nearest returns the name that takes the fewest edits to reach from word; the
// first of equals. names must not be empty.
func nearest(word string, names []string) string {
	best, least := "", 0
	for i, name := range names {
		if d := edits(word, name); i == 0 || d < least {
			best, least = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes. A key is at most 317 bytes long
// (63 after the slash, 253 before), so the quadratic time is harmless.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(diagonal+cost, row[j]+1, row[j+1]+1)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
