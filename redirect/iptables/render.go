// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// ownPrefix begins the name of every chain of ours, and of no other.
const ownPrefix = "SHUNT_"

// multiportSlots is how many ports one -m multiport takes; a range takes two
// (XT_MULTI_PORTS of linux/netfilter/xt_multiport.h).
const multiportSlots = 15

// wanted is what a namespace must hold, in iptables' words.
type wanted struct {
	families   map[redirect.Family]family
	dialSource bool // on the loopback interface
}

func (w wanted) of(f redirect.Family) family { return w.families[f] }

func (w wanted) ipv6() bool {
	_, ok := w.families[redirect.IPv6]
	return ok
}

// family is what one family must hold. The zero value holds nothing.
type family struct {
	chains     []chain
	generation string // differs where the rules do
}

// chain is one of ours, and where it is hooked in.
type chain struct {
	direction   redirect.Direction
	table, hook string
	lines       []line
}

// line is a rule as iptables-save writes it, without "-A <chain>".
type line struct {
	words []string
	rule  redirect.Rule
	pos   int // of the rule in its chain, from 1
}

func render(p redirect.Plan) (wanted, error) {
	w := wanted{families: make(map[redirect.Family]family)}
	for _, f := range p.Families {
		var out family
		for _, c := range f.Chains {
			rendered := place(c.Direction)
			for i, r := range c.Rules {
				words, err := ruleWords(r, c.Direction)
				if err != nil {
					return wanted{}, fmt.Errorf("render %v %v rule %d: %w", f.Family, c.Direction, i+1, err)
				}
				for _, w := range words {
					rendered.lines = append(rendered.lines, line{w, r, i + 1})
				}
			}
			out.chains = append(out.chains, rendered)
		}
		out.generation = generation(out)
		w.families[f.Family] = out
		w.dialSource = w.dialSource || f.LoopbackAddr.IsValid()
	}
	return w, nil
}

// place says where a direction is hooked in.
func place(d redirect.Direction) chain {
	switch d {
	case redirect.Inbound:
		return chain{direction: d, table: "nat", hook: "PREROUTING"}
	case redirect.Outbound:
		return chain{direction: d, table: "nat", hook: "OUTPUT"}
	default:
		return chain{direction: d, table: "mangle", hook: "PREROUTING"}
	}
}

func (c chain) name() string { return ownPrefix + strings.ToUpper(c.direction.String()) }

// jump is the rule that makes the chain live.
func (c chain) jump(generation string) []string {
	return []string{"-p", "tcp", "-m", "comment", "--comment", "shunt generation " + generation, "-j", c.name()}
}

func generation(f family) string {
	h := sha256.New()
	for _, c := range f.chains {
		for _, l := range c.lines {
			fmt.Fprintf(h, "%s %q\n", c.name(), l.words)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// ruleWords returns a line for each entry of the rule's set, in the order in
// which iptables-save writes conditions.
func ruleWords(r redirect.Rule, d redirect.Direction) ([][]string, error) {
	if sets(r.Match) > 1 {
		return nil, fmt.Errorf("%d sets in one rule (at most one is possible)", sets(r.Match))
	}
	m := r.Match
	action, err := actionWords(r)
	if err != nil {
		return nil, err
	}
	tail := slices.Concat(matchWords(m), []string{"-m", "comment", "--comment", r.Why}, action)
	build := func(addresses, ports []string) []string {
		return slices.Concat(addresses, negated(m.NotDest.IsValid(), "-d", m.NotDest.String()), interfaceWords(m, d), []string{"-p", "tcp"}, ports, tail)
	}
	switch {
	case m.Sources != nil:
		return each(m.Sources.Prefixes, func(p netip.Prefix) []string { return build(addressWords("-s", p), nil) }), nil
	case m.Dest != nil:
		return each(m.Dest.Prefixes, func(p netip.Prefix) []string { return build(addressWords("-d", p), nil) }), nil
	case m.DestPorts != nil:
		return each(multiports(m.DestPorts.Ranges), func(p string) []string { return build(nil, []string{"-m", "multiport", "--dports", p}) }), nil
	case m.Source.IsValid():
		return [][]string{build(addressWords("-s", m.Source), nil)}, nil
	default:
		return [][]string{build(nil, nil)}, nil
	}
}

func sets(m redirect.Match) int {
	n := 0
	for _, has := range []bool{m.Sources != nil, m.Source.IsValid(), m.Dest != nil, m.DestPorts != nil} {
		if has {
			n++
		}
	}
	return n
}

func each[T any](items []T, words func(T) []string) [][]string {
	var out [][]string
	for _, item := range items {
		out = append(out, words(item))
	}
	return out
}

// addressWords says nothing of the whole address space, as iptables-save does.
func addressWords(flag string, p netip.Prefix) []string {
	if p.Bits() == 0 {
		return nil
	}
	return []string{flag, p.String()}
}

func negated(when bool, flag, value string) []string {
	if !when {
		return nil
	}
	return []string{"!", flag, value}
}

func interfaceWords(m redirect.Match, d redirect.Direction) []string {
	switch {
	case m.Interface == "":
		return nil
	case d == redirect.Outbound:
		return []string{"-o", m.Interface}
	default:
		return []string{"-i", m.Interface}
	}
}

// matchWords are the conditions that iptables loads a module for, but for the
// ports of a set.
func matchWords(m redirect.Match) []string {
	var out []string
	if m.Opened {
		out = append(out, "-m", "tcp", "!", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN")
	}
	if m.NotDestPort != 0 {
		out = append(out, "-m", "tcp", "!", "--dport", strconv.Itoa(int(m.NotDestPort)))
	}
	if m.Invalid {
		out = append(out, "-m", "conntrack", "--ctstate", "INVALID")
	}
	if m.UID != nil {
		out = append(out, "-m", "owner", "--uid-owner", id(*m.UID))
	}
	if m.GID != nil {
		out = append(out, "-m", "owner", "--gid-owner", id(*m.GID))
	}
	for _, gid := range m.NotGIDs {
		out = append(out, "-m", "owner", "!", "--gid-owner", id(gid))
	}
	if m.Listened {
		out = append(out, "-m", "socket", "--nowildcard") // else it overlooks who listens at every address
	}
	return out
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// actionWords passes by RETURN and not by ACCEPT: the rules of others get their
// turn afterwards.
func actionWords(r redirect.Rule) ([]string, error) {
	switch r.Action {
	case redirect.Pass:
		return []string{"-j", "RETURN"}, nil
	case redirect.Drop:
		return []string{"-j", "DROP"}, nil
	case redirect.Capture:
		return []string{"-j", "REDIRECT", "--to-ports", strconv.Itoa(int(r.Port))}, nil
	default:
		return nil, fmt.Errorf("unknown action %d", r.Action)
	}
}

// multiports packs ranges into the lists that one rule each takes.
func multiports(ranges []contract.PortRange) []string {
	var out, parts []string
	used := 0
	for _, r := range ranges {
		slots, text := 1, strconv.Itoa(int(r.First))
		if r.First != r.Last {
			slots, text = 2, fmt.Sprintf("%d:%d", r.First, r.Last)
		}
		if used+slots > multiportSlots {
			out, parts, used = append(out, strings.Join(parts, ",")), nil, 0
		}
		parts, used = append(parts, text), used+slots
	}
	return append(out, strings.Join(parts, ","))
}
