// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"slices"
	"strings"
)

// Sign is what the first character of a list says about the default list. It
// is the one grammar of all lists that people write, in annotations and flags:
//
//	[ "+" | "=" ] [ entry { "," entry } ]
type Sign byte

// The signs. A list without one means what it means in Istio at that place: a
// flag replaces its default, an annotation that excludes adds to it.
const (
	Unsigned Sign = 0
	Add      Sign = '+' // the entries come to the defaults
	Replace  Sign = '=' // the entries are all there is
)

// CutSign splits a list into its sign and its entries.
func CutSign(list string) (Sign, string) {
	list = strings.TrimSpace(list)
	for _, s := range []Sign{Add, Replace} {
		if rest, ok := strings.CutPrefix(list, string(s)); ok {
			return s, rest
		}
	}
	return Unsigned, list
}

// Over returns the list that entries under this sign make of the defaults.
// Unsigned replaces them.
func Over[T any](s Sign, defaults, entries []T) []T {
	if s == Add {
		return slices.Concat(defaults, entries)
	}
	return entries
}
