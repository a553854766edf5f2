// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
)

// restoreText returns the input of iptables-restore --noflush that makes a
// family hold what is wanted, whatever of ours it holds now. Each table is one
// transaction: chains first, then what is stale, then the jumps.
func restoreText(have dump, want family) string {
	var b strings.Builder
	for _, name := range tables(have, want) {
		t, ok := have[name]
		if !ok {
			t = &table{}
		}
		writeTable(&b, name, t, want)
	}
	return b.String()
}

// tables returns those that hold something of ours, or will.
func tables(have dump, want family) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if len(have[name].chains(true)) > 0 || len(have[name].jumps()) > 0 {
			out = append(out, name)
		}
	}
	for _, c := range want.chains {
		if !slices.Contains(out, c.table) {
			out = append(out, c.table)
		}
	}
	return out
}

func writeTable(b *strings.Builder, name string, have *table, want family) {
	own := slices.DeleteFunc(slices.Clone(want.chains), func(c chain) bool { return c.table != name })
	fmt.Fprintf(b, "*%s\n", name)
	// With --noflush, naming a chain of ours empties it, or makes it.
	for _, c := range own {
		fmt.Fprintf(b, ":%s - [0:0]\n", c.name())
	}
	for _, c := range own {
		for _, l := range c.lines {
			fmt.Fprintf(b, "-A %s %s\n", c.name(), quote(l.words))
		}
	}
	for _, j := range have.jumps() {
		fmt.Fprintf(b, "-D %s %s\n", j.chain, j.spec)
	}
	stale := slices.DeleteFunc(have.chains(true), func(name string) bool {
		return slices.ContainsFunc(own, func(c chain) bool { return c.name() == name })
	})
	for _, name := range stale {
		fmt.Fprintf(b, "-F %s\n", name)
	}
	for _, name := range stale {
		fmt.Fprintf(b, "-X %s\n", name)
	}
	for _, c := range own {
		fmt.Fprintf(b, "-A %s %s\n", c.hook, quote(c.jump(want.generation)))
	}
	b.WriteString("COMMIT\n")
}

// hook is a built-in chain.
type hook struct {
	table, chain string
}

// emptyHooks returns the built-in chains that a jump of ours was in, and that
// are of no use to anybody now.
func emptyHooks(before, now dump, want family) []hook {
	var out []hook
	for _, name := range slices.Sorted(maps.Keys(before)) {
		t, ok := now[name]
		if !ok {
			continue
		}
		for _, j := range before[name].jumps() {
			h := hook{name, j.chain}
			wantedStill := slices.ContainsFunc(want.chains, func(c chain) bool { return hook{c.table, c.hook} == h })
			if !wantedStill && len(t.rules[j.chain]) == 0 && t.policies[j.chain] == "ACCEPT" && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// Text renders what Apply makes in an untouched namespace as input for
// iptables-restore and ip6tables-restore, so that a person can read it, or try
// it where this program is not at hand.
func Text(p redirect.Plan) (string, error) {
	want, err := render(p)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, f := range p.Families {
		program := "iptables-restore"
		if f.Family == redirect.IPv6 {
			program = "ip6tables-restore"
		}
		fmt.Fprintf(&b, "# %s --noflush\n%s", program, restoreText(nil, want.of(f.Family)))
	}
	return b.String(), nil
}
