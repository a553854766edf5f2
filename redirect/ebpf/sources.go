// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"net/netip"
	"slices"
)

// route is a way out of the pod, and the address that the kernel chooses as the
// source of what takes it.
type route struct {
	dest   netip.Prefix
	source netip.Addr
}

// sourced are destinations with one source.
type sourced struct {
	span
	source netip.Addr
}

// flatten turns routes, of which the longest prefix decides, into spans without
// overlaps, which a search can halve.
func flatten(routes []route) []sourced {
	var cuts []wide // where a span begins
	for _, r := range routes {
		s := prefixSpan(r.dest)
		cuts = append(cuts, s.First)
		if behind, ok := s.Last.next(); ok {
			cuts = append(cuts, behind)
		}
	}
	slices.SortFunc(cuts, compareWide)
	cuts = slices.Compact(cuts)
	var out []sourced
	for i, first := range cuts {
		last := wide{^uint64(0), ^uint64(0)}
		if i+1 < len(cuts) {
			last = cuts[i+1].previous()
		}
		if source, ok := longest(routes, first); ok {
			out = appendSourced(out, sourced{span{first, last}, source})
		}
	}
	return out
}

// longest returns the source of the route that decides about an address.
func longest(routes []route, at wide) (source netip.Addr, found bool) {
	bits := -1
	for _, r := range routes {
		s := prefixSpan(r.dest)
		if !at.less(s.First) && !s.Last.less(at) && r.dest.Bits() > bits {
			source, bits, found = r.source, r.dest.Bits(), true
		}
	}
	return source, found
}

// appendSourced joins what touches and has the same source.
func appendSourced(out []sourced, s sourced) []sourced {
	if last := len(out) - 1; last >= 0 && out[last].source == s.source {
		if behind, ok := out[last].Last.next(); ok && behind == s.First {
			out[last].Last = s.Last
			return out
		}
	}
	return append(out, s)
}
