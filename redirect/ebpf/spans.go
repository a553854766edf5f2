// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/redirect"
)

// number is the span that holds one number.
func number(n uint32) span { return span{wide{Low: uint64(n)}, wide{Low: uint64(n)}} }

func numbers(of ...uint32) []span {
	out := make([]span, len(of))
	for i, n := range of {
		out[i] = number(n)
	}
	return merge(out)
}

func portSpans(s *redirect.PortSet) []span {
	var out []span
	for _, r := range s.Ranges {
		out = append(out, span{wide{Low: uint64(r.First)}, wide{Low: uint64(r.Last)}})
	}
	return merge(out)
}

func prefixSpans(prefixes ...netip.Prefix) []span {
	var out []span
	for _, p := range prefixes {
		out = append(out, prefixSpan(p))
	}
	return merge(out)
}

func prefixSpan(p netip.Prefix) span {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	first := wideOf(p.Masked().Addr())
	last := first
	if bits < 64 {
		last.High |= ^uint64(0) >> bits
		last.Low = ^uint64(0)
	} else if bits < 128 {
		last.Low |= ^uint64(0) >> (bits - 64)
	}
	return span{first, last}
}

func addrSpans(addrs []netip.Addr) []span {
	var out []span
	for _, a := range addrs {
		out = append(out, span{wideOf(a), wideOf(a)})
	}
	return merge(out)
}

// merge sorts spans, and joins those that overlap or touch.
func merge(spans []span) []span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int { return compareWide(a.First, b.First) })
	var out []span
	for _, s := range sorted {
		if last := len(out) - 1; last >= 0 {
			if behind, ok := out[last].Last.next(); !ok || !behind.less(s.First) {
				if out[last].Last.less(s.Last) {
					out[last].Last = s.Last
				}
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

func compareWide(a, b wide) int {
	return cmp.Or(cmp.Compare(a.High, b.High), cmp.Compare(a.Low, b.Low))
}
