// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// everything as a list means all there is.
const everything = "*"

// Text returns what reads a value into dst as it stands.
func Text(dst *string) func(string) error {
	return func(s string) error { *dst = s; return nil }
}

// Switch returns what reads true or false into dst.
func Switch(dst *bool) func(string) error {
	return func(s string) (err error) {
		if *dst, err = strconv.ParseBool(s); err != nil {
			return errors.New("not possible (allowed: true, false)")
		}
		return nil
	}
}

// Each function below returns what reads a flag's value into its destination. A
// list that begins with + comes to what the destination holds when the flags
// are made, its default; see contract.Sign.

func port(dst *uint16) func(string) error {
	return func(s string) error {
		r, err := contract.ParsePorts(s)
		if err != nil {
			return err
		}
		if len(r) != 1 || r[0].First != r[0].Last {
			return errors.New("not one port (allowed: 1 to 65535)")
		}
		*dst = r[0].First
		return nil
	}
}

func ports(dst *[]contract.PortRange) func(string) error {
	return list(dst, contract.ParsePorts)
}

func cidrs(dst *[]netip.Prefix) func(string) error {
	return list(dst, func(s string) ([]netip.Prefix, error) {
		if s == everything {
			return nil, errors.New("this would exclude every destination (allowed: prefixes such as 10.0.0.0/8; -i \"\" captures none)")
		}
		return contract.ParseCIDRs(s)
	})
}

func interfaces(dst *[]string) func(string) error { return list(dst, contract.ParseInterfaces) }

// groups takes * for every group, which is the default.
func groups(dst *[]uint32) func(string) error {
	return list(dst, func(s string) ([]uint32, error) {
		if s == everything {
			return nil, nil
		}
		return parseIDs(s)
	})
}

func list[T any](dst *[]T, parse func(string) ([]T, error)) func(string) error {
	defaults := slices.Clone(*dst)
	return func(s string) error {
		sign, rest := contract.CutSign(s)
		entries, err := parse(rest)
		if err != nil {
			return err
		}
		*dst = contract.Over(sign, defaults, entries)
		return nil
	}
}

func portsOrAll(dst *redirect.Ports) func(string) error {
	defaults := *dst
	return func(s string) error {
		sign, rest := contract.CutSign(s)
		if rest == everything {
			*dst = redirect.Ports{All: true}
			return nil
		}
		ranges, err := contract.ParsePorts(rest)
		if err != nil {
			return err
		}
		*dst = redirect.Ports{All: sign == contract.Add && defaults.All, Ranges: contract.Over(sign, defaults.Ranges, ranges)}
		return nil
	}
}

func cidrsOrAll(dst *redirect.CIDRs) func(string) error {
	defaults := *dst
	return func(s string) error {
		sign, rest := contract.CutSign(s)
		if rest == everything {
			*dst = redirect.CIDRs{All: true}
			return nil
		}
		prefixes, err := contract.ParseCIDRs(rest)
		if err != nil {
			return err
		}
		*dst = redirect.CIDRs{All: sign == contract.Add && defaults.All, Prefixes: contract.Over(sign, defaults.Prefixes, prefixes)}
		return nil
	}
}

// parseIDs reads numbers alone: names would need the image's /etc/passwd.
func parseIDs(list string) ([]uint32, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var out []uint32
	for entry := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(entry), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("entry %q is no uid or gid (allowed: numbers from 1 to 4294967294, separated by commas; names mean nothing in an image without users)", entry)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

func inboundMode(s string) error {
	if s == "" || s == "REDIRECT" {
		return nil
	}
	return errors.New("not supported yet (allowed: REDIRECT; TPROXY would need NET_ADMIN in the proxy)")
}

func onOff(dst *bool) func(string) error {
	return func(s string) error {
		if s != "on" && s != "off" {
			return errors.New("not possible (allowed: on, off)")
		}
		*dst = s == "on"
		return nil
	}
}

func closedPorts(dst *redirect.ClosedPorts) func(string) error {
	return func(s string) (err error) {
		*dst, err = redirect.ParseClosedPorts(s)
		return err
	}
}
