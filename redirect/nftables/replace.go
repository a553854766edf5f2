// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"

	"github.com/shuntmesh/shunt/redirect"
)

// replace makes our tables, which are own, be exactly want.
//
// What takes effect does so in one batch, but a packet that meets the new rules
// at that moment may find the sets of the same batch empty still, and one that is
// on its way through the old rules still looks up the old sets. So the new sets
// come in a batch ahead, and the old ones go in a batch behind. Killed in between,
// we leave sets that no rule looks up: Check names them and the next Apply takes
// them. Refused in between, we take them away.
func replace(conn *nft.Conn, own []*nft.Table, want []table) error {
	found, err := inventory(conn, own)
	if err != nil {
		return err
	}
	if err := inBatch(conn, addSets, found, want); err != nil {
		return err
	}
	if err := inBatch(conn, swapRules, found, want); err != nil {
		return errors.Join(err, inBatch(conn, dropUnused, found, want))
	}
	return inBatch(conn, dropLeavings, found, want)
}

// step puts its part of a change into a batch.
type step func(conn *nft.Conn, found []existing, want []table) error

func inBatch(conn *nft.Conn, put step, found []existing, want []table) error {
	if err := put(conn, found, want); err != nil {
		return err
	}
	return conn.Flush()
}

// existing is a table of ours in the kernel.
type existing struct {
	table  *nft.Table
	chains []*nft.Chain
	sets   []*nft.Set
}

func inventory(conn *nft.Conn, own []*nft.Table) ([]existing, error) {
	var out []existing
	for _, t := range own {
		e := existing{table: t}
		chains, err := conn.ListChainsOfTableFamily(t.Family)
		if err != nil {
			return nil, fmt.Errorf("list chains of %s: %w", tableText(t.Family), err)
		}
		e.chains = slices.DeleteFunc(chains, func(c *nft.Chain) bool { return c.Table.Name != tableName })
		if e.sets, err = conn.GetSets(t); err != nil {
			return nil, fmt.Errorf("list sets of %s: %w", tableText(t.Family), err)
		}
		out = append(out, e)
	}
	return out, nil
}

func wantOf(want []table, t *nft.Table) (table, bool) {
	i := slices.IndexFunc(want, func(w table) bool { return tableFamily(w.family) == t.Family })
	if i < 0 {
		return table{}, false
	}
	return want[i], true
}

func isFound(found []existing, w table) bool {
	return slices.ContainsFunc(found, func(e existing) bool { return e.table.Family == tableFamily(w.family) })
}

// addSets adds what the new rules look up. A table of ours that is asleep wakes
// in the next step.
func addSets(conn *nft.Conn, found []existing, want []table) error {
	for _, w := range want {
		t := w.own()
		if !isFound(found, w) {
			conn.AddTable(t)
		}
		for _, s := range w.sets {
			if err := s.add(conn, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// swapRules is the step that counts.
func swapRules(conn *nft.Conn, found []existing, want []table) error {
	for _, e := range found {
		w, _ := wantOf(want, e.table)
		for _, c := range e.chains {
			conn.FlushChain(c)
		}
		for _, c := range e.chains {
			if !w.has(c) {
				conn.DelChain(c)
			}
		}
	}
	for _, w := range want {
		w.addChains(conn, conn.AddTable(w.own()))
	}
	return nil
}

// dropLeavings takes away what no rule looks up any more.
func dropLeavings(conn *nft.Conn, found []existing, want []table) error {
	for _, e := range found {
		w, wanted := wantOf(want, e.table)
		if !wanted {
			conn.DelTable(e.table)
			continue
		}
		for _, s := range e.sets {
			if !slices.ContainsFunc(w.sets, func(keep set) bool { return keep.name == s.Name }) {
				conn.DelSet(s)
			}
		}
	}
	return nil
}

// dropUnused takes away what addSets has put, but for sets that are those of the
// old rules too.
func dropUnused(conn *nft.Conn, found []existing, want []table) error {
	for _, e := range found {
		w, _ := wantOf(want, e.table)
		for _, s := range w.sets {
			if !slices.ContainsFunc(e.sets, func(old *nft.Set) bool { return old.Name == s.name }) {
				conn.DelSet(&nft.Set{Table: e.table, Name: s.name})
			}
		}
	}
	for _, w := range want {
		if !isFound(found, w) {
			conn.DelTable(w.own())
		}
	}
	return nil
}

// own is the table in the kernel.
func (t table) own() *nft.Table { return &nft.Table{Name: tableName, Family: tableFamily(t.family)} }

// has reports whether a chain is hooked in as ours is.
func (t table) has(kernel *nft.Chain) bool {
	return slices.ContainsFunc(t.chains, func(c chain) bool {
		return chainText(baseChain(kernel.Table, c.direction)) == chainText(kernel)
	})
}

func (t table) addChains(conn *nft.Conn, own *nft.Table) {
	for _, c := range t.chains {
		kernel := conn.AddChain(baseChain(own, c.direction))
		for _, r := range c.rules {
			conn.AddRule(&nft.Rule{
				Table: own, Chain: kernel, Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.plan.Why),
			})
		}
	}
}

// tableFamily is nf_tables' name of a family.
func tableFamily(f redirect.Family) nft.TableFamily {
	if f == redirect.IPv4 {
		return nft.TableFamilyIPv4
	}
	return nft.TableFamilyIPv6
}
