// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
)

// exists asks iptables itself about a rule whose spelling differs.
type exists func(table, chain string, spec []string) bool

// compare returns a *redirect.Difference for the first thing of ours that is
// not as wanted: chains, their rules in order, then the jumps to them.
func compare(f redirect.Family, have dump, want family, known exists) error {
	if err := compareChains(f, have, want); err != nil {
		return err
	}
	for _, c := range want.chains {
		if err := compareRules(f, have[c.table].rules[c.name()], c, known); err != nil {
			return err
		}
	}
	return compareJumps(f, have, want, known)
}

func compareChains(f redirect.Family, have dump, want family) error {
	var wantNames, gotNames []string
	for _, c := range want.chains {
		wantNames = append(wantNames, c.table+" "+c.name())
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		for _, c := range have[name].chains(true) {
			gotNames = append(gotNames, name+" "+c)
		}
	}
	slices.Sort(wantNames)
	if slices.Equal(wantNames, gotNames) {
		return nil
	}
	return &redirect.Difference{Where: f.String() + " chains", Want: list(wantNames), Got: list(gotNames)}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none of ours"
	}
	return strings.Join(names, ", ")
}

func compareRules(f redirect.Family, got []string, want chain, known exists) error {
	for i := range max(len(want.lines), len(got)) {
		switch {
		case i >= len(got):
			l := want.lines[i]
			return &redirect.Difference{Where: l.where(f, want), Want: l.rule.String(), Got: "no rule"}
		case i >= len(want.lines):
			after := want.lines[len(want.lines)-1]
			return &redirect.Difference{Where: fmt.Sprintf("%v %v behind rule %d", f, want.direction, after.pos), Want: "no rule", Got: want.tell(got[i])}
		}
		l := want.lines[i]
		if same(l.words, words(got[i]), func() bool { return known(want.table, want.name(), l.words) }) {
			continue
		}
		return &redirect.Difference{Where: l.where(f, want), Want: l.rule.String(), Got: want.tell(got[i])}
	}
	return nil
}

// same takes another spelling for the same rule where its comment and its
// target are what they should be and iptables itself knows our spelling.
func same(want, got []string, known func() bool) bool {
	if slices.Equal(want, got) {
		return true
	}
	return comment(want) == comment(got) && target(want) == target(got) && known()
}

func comment(words []string) string {
	i := slices.Index(words, "--comment")
	if i < 0 || i+1 == len(words) {
		return ""
	}
	return words[i+1]
}

func (l line) where(f redirect.Family, c chain) string {
	return fmt.Sprintf("%v %v rule %d", f, c.direction, l.pos)
}

// tell says which rule of the chain a line is, if any.
func (c chain) tell(spec string) string {
	got := words(spec)
	for _, l := range c.lines {
		if slices.Equal(l.words, got) {
			return fmt.Sprintf("rule %d (%v)", l.pos, l.rule)
		}
	}
	return "a rule that is not ours (" + spec + ")"
}

// compareJumps wants each chain to be hooked in once, in its place, for this
// generation of rules.
func compareJumps(f redirect.Family, have dump, want family, known exists) error {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		for _, j := range have[name].jumps() {
			if !slices.ContainsFunc(want.chains, func(c chain) bool { return c.table == name && c.hook == j.chain && c.name() == target(words(j.spec)) }) {
				return &redirect.Difference{Where: fmt.Sprintf("%v %s %s", f, name, j.chain), Want: "no such jump", Got: j.spec}
			}
		}
	}
	for _, c := range want.chains {
		var got []string
		for _, j := range have[c.table].jumps() {
			if target(words(j.spec)) == c.name() {
				got = append(got, j.spec)
			}
		}
		jump := c.jump(want.generation)
		if len(got) == 1 && same(jump, words(got[0]), func() bool { return known(c.table, c.hook, jump) }) {
			continue
		}
		d := &redirect.Difference{Where: fmt.Sprintf("%v %s %s", f, c.table, c.hook), Want: quote(jump), Got: strings.Join(got, " and ")}
		if len(got) == 0 {
			d.Got = "no jump to " + c.name()
		}
		return d
	}
	return nil
}
