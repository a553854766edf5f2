// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
)

// mergePorts returns ranges sorted, with overlapping and adjacent ones joined:
// an interval set of the kernel refuses overlaps.
func mergePorts(ranges []contract.PortRange) []contract.PortRange {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b contract.PortRange) int { return cmp.Compare(a.First, b.First) })
	var out []contract.PortRange
	for _, r := range sorted {
		last := len(out) - 1
		// int, so that 65535+1 doesn't wrap.
		if last >= 0 && int(r.First) <= int(out[last].Last)+1 {
			out[last].Last = max(out[last].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// mergePrefixes returns the prefixes of one family sorted, without those that
// lie in another. Neighbours are not joined, so that what a user wrote can be
// found again.
func mergePrefixes(prefixes []netip.Prefix, f Family) []netip.Prefix {
	var own []netip.Prefix
	for _, p := range prefixes {
		if familyOf(p.Addr()) == f {
			own = append(own, p.Masked())
		}
	}
	slices.SortFunc(own, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, p := range own {
		// Sorted by address, a prefix that holds p comes before it, and
		// nothing between the two lies outside of it.
		if last := len(out) - 1; last >= 0 && out[last].Overlaps(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

func loopback(a netip.Addr) netip.Prefix {
	return familyOf(a).Loopback()
}
