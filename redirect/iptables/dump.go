// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dump is what iptables-save wrote, by table.
type dump map[string]*table

// table is one table of a dump.
type table struct {
	policies map[string]string   // of every chain; "-" for those that are not built in
	rules    map[string][]string // by chain, without "-A <chain> "
}

// parseDump reads the output of iptables-save. It keeps the words of rules as
// they are: those of others are never rewritten.
func parseDump(text string) (dump, error) {
	out := make(dump)
	var current *table
	number := 0
	for l := range strings.Lines(text) {
		number++
		l = strings.TrimSpace(l)
		name, isTable := strings.CutPrefix(l, "*")
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case isTable:
			current = &table{make(map[string]string), make(map[string][]string)}
			out[name] = current
		case current == nil:
			return nil, fmt.Errorf("line %d: %q stands outside of a table", number, l)
		case l == "COMMIT":
			current = nil
		default:
			if err := current.parseLine(l); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
		}
	}
	if current != nil {
		return nil, fmt.Errorf("line %d: the last table has no COMMIT", number)
	}
	return out, nil
}

func (t *table) parseLine(l string) error {
	if decl, ok := strings.CutPrefix(l, ":"); ok {
		name, rest, ok := strings.Cut(decl, " ")
		policy, _, _ := strings.Cut(rest, " ")
		if !ok || name == "" || policy == "" {
			return fmt.Errorf("%q declares no chain", l)
		}
		t.policies[name] = policy
		return nil
	}
	rule, ok := strings.CutPrefix(l, "-A ")
	name, spec, _ := strings.Cut(rule, " ")
	if !ok || name == "" {
		return fmt.Errorf("%q is neither a chain nor a rule", l)
	}
	t.rules[name] = append(t.rules[name], spec)
	return nil
}

// chains returns the names of the chains of a table, sorted; ours or others'.
func (t *table) chains(ours bool) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t.policies)) {
		if strings.HasPrefix(name, ownPrefix) == ours {
			out = append(out, name)
		}
	}
	return out
}

// jump is a rule in a chain of others that leads to one of ours.
type jump struct {
	chain, spec string
}

func (t *table) jumps() []jump {
	var out []jump
	for _, name := range t.chains(false) {
		for _, spec := range t.rules[name] {
			if strings.HasPrefix(target(words(spec)), ownPrefix) {
				out = append(out, jump{name, spec})
			}
		}
	}
	return out
}

// target returns the chain that a rule jumps or goes to, or its target, or "".
func target(words []string) string {
	for i, w := range words[:max(0, len(words)-1)] {
		if w == "-j" || w == "-g" {
			return words[i+1]
		}
	}
	return ""
}

// holdsOurs reports whether anything is there that Apply makes or made.
func (d dump) holdsOurs() bool {
	for _, t := range d {
		if len(t.chains(true)) > 0 || len(t.jumps()) > 0 {
			return true
		}
	}
	return false
}

// inUse reports whether anything is there but empty built-in chains that
// accept, which a mere look at a table may have made.
func (d dump) inUse() bool {
	for _, t := range d {
		if len(t.rules) > 0 || !t.pristine() {
			return true
		}
	}
	return false
}

func (t *table) pristine() bool {
	for _, policy := range t.policies {
		if policy != "ACCEPT" {
			return false
		}
	}
	return true
}

// words splits a rule as iptables-save writes it: words with spaces are in
// double quotes, in which a backslash protects the next character.
func words(spec string) []string {
	var out []string
	var word strings.Builder
	quoted, escaped, inWord := false, false, false
	for _, c := range spec {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted, inWord = !quoted, true
		case c == ' ' && !quoted:
			if inWord {
				out = append(out, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word.String())
	}
	return out
}

// quote is the reverse of words.
func quote(words []string) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = w
		if w == "" || strings.ContainsAny(w, " \"'\\") {
			parts[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	return strings.Join(parts, " ")
}
