// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/shuntmesh/shunt/redirect"
)

// compare reads our tables back and returns a *redirect.Difference for the
// first thing that is not as wanted.
func compare(conn socket, want []table) error {
	own, err := ownTables(conn.Conn)
	if err != nil {
		return err
	}
	stale, err := compareStructure(conn, own, want)
	if err != nil || len(stale) == 0 {
		return err
	}
	return stale[0].difference()
}

// compareStructure compares our tables, which are found, but for the elements of
// their sets, and returns the sets whose elements are not as wanted.
func compareStructure(conn socket, found []*nft.Table, want []table) ([]staleSet, error) {
	for _, t := range found {
		if !slices.ContainsFunc(want, func(w table) bool { return tableFamily(w.family) == t.Family }) {
			return nil, &redirect.Difference{Where: tableText(t.Family), Want: "no such table", Got: "the table"}
		}
	}
	var stale []staleSet
	for _, w := range want {
		i := slices.IndexFunc(found, func(t *nft.Table) bool { return t.Family == tableFamily(w.family) })
		if i < 0 {
			return nil, &redirect.Difference{Where: tableText(tableFamily(w.family)), Want: "the table", Got: "no such table"}
		}
		more, err := compareTable(conn, found[i], w)
		if err != nil {
			return nil, err
		}
		stale = append(stale, more...)
	}
	return stale, nil
}

func compareTable(conn socket, t *nft.Table, want table) ([]staleSet, error) {
	where := tableText(t.Family)
	if t.Flags != 0 {
		return nil, &redirect.Difference{Where: where, Want: "no flags", Got: fmt.Sprintf("flags %#x (1 is dormant)", t.Flags)}
	}
	chains, err := chainsOf(conn.Conn, t)
	if err != nil {
		return nil, err
	}
	var wantChains []string
	for _, c := range want.chains {
		wantChains = append(wantChains, chainText(baseChain(t, c.direction)))
	}
	if err := compareNames(where+" chains", wantChains, chains); err != nil {
		return nil, err
	}
	for _, c := range want.chains {
		if err := compareRules(conn, t, c, want.family); err != nil {
			return nil, err
		}
	}
	return compareSets(conn.Conn, t, want.sets)
}

func compareRules(conn socket, t *nft.Table, want chain, f redirect.Family) error {
	found, err := readRules(conn.raw, t.Family, want.direction.String())
	if err != nil {
		return fmt.Errorf("list rules of %s chain %v: %w", tableText(t.Family), want.direction, hint(err))
	}
	for i := range max(len(want.rules), len(found)) {
		var wantExprs, gotExprs string
		if i < len(want.rules) {
			wantExprs = exprsText(want.rules[i].exprs)
		}
		if i < len(found) {
			gotExprs = found[i]
		}
		if wantExprs == gotExprs {
			continue
		}
		d := &redirect.Difference{Where: fmt.Sprintf("%v %v rule %d", f, want.direction, i+1), Want: "no rule", Got: "no rule"}
		if i < len(want.rules) {
			d.Want = want.rules[i].plan.String()
		}
		if i < len(found) {
			d.Got = want.name(gotExprs)
		}
		return d
	}
	return nil
}

// name tells which rule of the chain these expressions are, if any.
func (c chain) name(exprs string) string {
	for i, r := range c.rules {
		if exprsText(r.exprs) == exprs {
			return fmt.Sprintf("rule %d (%v)", i+1, r.plan)
		}
	}
	return "a rule that is not ours (" + exprs + ")"
}

// compareNames ignores the order, which the kernel chooses.
func compareNames(where string, want, got []string) error {
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(want, got) {
		return nil
	}
	return &redirect.Difference{Where: where, Want: nameList(want), Got: nameList(got)}
}

func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func chainsOf(conn *nft.Conn, t *nft.Table) ([]string, error) {
	chains, err := conn.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains of %s: %w", tableText(t.Family), err)
	}
	var out []string
	for _, c := range chains {
		if c.Table.Name != t.Name {
			continue
		}
		out = append(out, chainText(c))
	}
	return out, nil
}

func chainText(c *nft.Chain) string {
	if c.Hooknum == nil || c.Priority == nil {
		return c.Name
	}
	verdict := "accept"
	if c.Policy != nil && *c.Policy == nft.ChainPolicyDrop {
		verdict = "drop"
	}
	return fmt.Sprintf("%s (%s hook %d priority %d policy %s)", c.Name, c.Type, *c.Hooknum, *c.Priority, verdict)
}

// exprsText renders what a rule does.
func exprsText(exprs []expr.Any) string {
	parts := make([]string, len(exprs))
	for i, e := range exprs {
		parts[i] = exprText(e)
	}
	return strings.Join(parts, " ")
}

// exprText leaves out how often a rule did what it does, and the suffix of a
// set's name, which would make all rules differ where one does: compareSets
// looks at whole names.
func exprText(e expr.Any) string {
	switch e := e.(type) {
	case *expr.Counter:
		return "Counter"
	case *expr.Lookup:
		return fmt.Sprintf("Lookup{%s by %d to %d invert %v}", bareName(e.SetName), e.SourceRegister, e.DestRegister, e.Invert)
	default:
		v := reflect.Indirect(reflect.ValueOf(e))
		return fmt.Sprintf("%s%+v", v.Type().Name(), v.Interface())
	}
}

// bareName is the reverse of what renderTable does to the name of a set.
func bareName(name string) string {
	bare, suffix, ok := cutLast(name, "_")
	if _, err := hex.DecodeString(suffix); !ok || err != nil || len(suffix) != suffixLength {
		return name
	}
	return bare
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func tableText(f nft.TableFamily) string {
	if f == nft.TableFamilyIPv4 {
		return "table ip " + tableName
	}
	return "table ip6 " + tableName
}
