// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
)

// everything as a value means all ports or all destinations.
const everything = "*"

// The values of lists, in words.
const (
	portList   = "ports and ranges, such as 8081,9000-9010"
	portsOrAll = portList + "; or * alone"
	cidrList   = "addresses and prefixes, such as 10.0.0.0/8,fd00::/8"
	cidrsOrAll = cidrList + "; or * alone"

	interfaceList = "names of network interfaces, such as net1,eth2"
)

// list reads into dst, where base is what holds when nobody says anything. A
// value with "+" before it is added to what was said farther from the pod; one
// with "=" before it, or with nothing, stands in its place. Lists whose base is
// everything also take "*"; another base stays in front of each value.
func list(dst *string, base string, parse func(string) (string, error)) func(string) error {
	return func(text string) error {
		sign, rest := contract.CutSign(text)
		adds := sign == contract.Add
		if base == everything && strings.TrimSpace(rest) == everything {
			*dst = everything
			return nil
		}
		parsed, err := parse(rest)
		switch {
		case err != nil && base == everything:
			return fmt.Errorf(`%w; "*" alone means all`, err)
		case err != nil:
			return err
		case adds && *dst == everything:
			return fmt.Errorf("%q adds to all, which is all (allowed: a list without +, for those alone)", text)
		case adds:
			*dst = join(*dst, parsed)
		case base == everything:
			*dst = parsed
		default:
			*dst = join(base, parsed)
		}
		return nil
	}
}

func join(base, value string) string {
	if base == "" || value == "" {
		return base + value
	}
	return base + "," + value
}

func ports(text string) (string, error) {
	ranges, err := contract.ParsePorts(text)
	return texts(ranges), err
}

func interfaces(text string) (string, error) {
	names, err := contract.ParseInterfaces(text)
	return strings.Join(names, ","), err
}

func cidrs(text string) (string, error) {
	prefixes, err := parseCIDRs(text)
	return texts(prefixes), err
}

// capturable refuses to include what the redirection never captures.
func capturable(text string) (string, error) {
	prefixes, err := parseCIDRs(text)
	if err != nil {
		return "", err
	}
	for _, p := range prefixes {
		const loopback = 8 // bits of 127.0.0.0/8; ::1 is a single address
		if p.Addr().IsLoopback() && p.Bits() >= loopback {
			return "", fmt.Errorf("CIDR list %q: entry %q is loopback, which is never captured (allowed: other prefixes)", text, p)
		}
	}
	return texts(prefixes), nil
}

// parseCIDRs refuses IPv4 in IPv6's clothes: the kernel sees such a destination
// as IPv4, and the rule would never match.
func parseCIDRs(text string) ([]netip.Prefix, error) {
	prefixes, err := contract.ParseCIDRs(text)
	if err != nil {
		return nil, err
	}
	for _, p := range prefixes {
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("CIDR list %q: entry %q is IPv4 inside of IPv6 (allowed: IPv4 in its own form, such as 10.0.0.0/8)", text, p)
		}
	}
	return prefixes, nil
}

func texts[T fmt.Stringer](entries []T) string {
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.String())
	}
	return strings.Join(out, ",")
}
