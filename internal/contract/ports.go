// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxListEntries bounds every list that a pod's author can write. nftables
// holds far more; a longer list is a mistake that should be seen.
const maxListEntries = 1024

// PortRange is an inclusive range of TCP ports; First == Last is one port.
type PortRange struct {
	First, Last uint16
}

// String returns "80" or "80-90", the form that ParsePorts reads.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParsePorts reads a comma-separated list of ports and inclusive ranges, such
// as "8081,9000-9010". Spaces around an entry are allowed, the empty string is
// the empty list. The order is kept; nothing is merged.
func ParsePorts(list string) ([]PortRange, error) {
	var out []PortRange
	for _, entry := range splitList(list) {
		r, err := parsePortRange(entry)
		if err != nil {
			return nil, fmt.Errorf("port list %q: %w", list, err)
		}
		out = append(out, r)
	}
	if len(out) > maxListEntries {
		return nil, fmt.Errorf("port list has %d entries (at most %d are allowed)", len(out), maxListEntries)
	}
	return out, nil
}

// ParseCIDRs reads a comma-separated list of IPv4 and IPv6 prefixes, such as
// "10.0.0.0/8,fd00::/8"; an address alone is a prefix of full length. Host bits
// are cleared. The empty string is the empty list.
func ParseCIDRs(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, entry := range splitList(list) {
		p, err := parseCIDR(entry)
		if err != nil {
			return nil, fmt.Errorf("CIDR list %q: %w", list, err)
		}
		out = append(out, p)
	}
	if len(out) > maxListEntries {
		return nil, fmt.Errorf("CIDR list has %d entries (at most %d are allowed)", len(out), maxListEntries)
	}
	return out, nil
}

func splitList(list string) []string {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	entries := strings.Split(list, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return entries
}

func parsePortRange(entry string) (PortRange, error) {
	first, last, isRange := strings.Cut(entry, "-")
	lo, err := parsePort(first)
	if err != nil {
		return PortRange{}, fmt.Errorf("entry %q: %w", entry, err)
	}
	if !isRange {
		return PortRange{First: lo, Last: lo}, nil
	}
	hi, err := parsePort(last)
	if err != nil {
		return PortRange{}, fmt.Errorf("entry %q: %w", entry, err)
	}
	if hi < lo {
		return PortRange{}, fmt.Errorf("entry %q: the range is reversed (write %d-%d)", entry, hi, lo)
	}
	return PortRange{First: lo, Last: hi}, nil
}

// parsePort accepts decimal digits alone: strconv would take a sign, and
// "+80" in an annotation is more likely a slip than a port.
func parsePort(s string) (uint16, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("port %q is not a number (allowed: 1 to 65535, or a range such as 9000-9010)", s)
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is out of range (allowed: 1 to 65535)", s)
	}
	return uint16(n), nil
}

func parseCIDR(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("entry %q is no CIDR (allowed: an address or prefix such as 10.0.0.0/8 or fd00::/8)", entry)
	}
	return p.Masked(), nil
}
