// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"slices"

	nft "github.com/google/nftables"

	"github.com/shuntmesh/shunt/redirect"
)

// staleSet is a set of ours that holds other elements than it should.
type staleSet struct {
	kernel    *nft.Set
	want, got set
}

func (s staleSet) difference() *redirect.Difference {
	return &redirect.Difference{
		Where: tableText(s.kernel.Table.Family) + " set " + s.want.name,
		Want:  s.want.String(), Got: s.got.String(),
	}
}

// compareSets returns a *redirect.Difference where there are other sets than
// wanted, and otherwise those with other elements.
func compareSets(conn *nft.Conn, t *nft.Table, want []set) ([]staleSet, error) {
	found, err := conn.GetSets(t)
	if err != nil {
		return nil, fmt.Errorf("list sets of %s: %w", tableText(t.Family), err)
	}
	var wantNames, gotNames []string
	for _, s := range want {
		wantNames = append(wantNames, s.name)
	}
	for _, s := range found {
		gotNames = append(gotNames, s.Name)
	}
	if err := compareNames(tableText(t.Family)+" sets", wantNames, gotNames); err != nil {
		return nil, err
	}
	var stale []staleSet
	for _, w := range want {
		kernel := found[slices.IndexFunc(found, func(s *nft.Set) bool { return s.Name == w.name })]
		elements, err := conn.GetSetElements(kernel)
		if err != nil {
			return nil, fmt.Errorf("list elements of set %s: %w", w.name, err)
		}
		if got := setOf(w.name, kernel.KeyType, elements); got.String() != w.String() {
			stale = append(stale, staleSet{kernel, w, got})
		}
	}
	return stale, nil
}

// refill gives the sets their elements in one batch, under which every packet
// sees a set as it was or as it will be. Rules and their counters stay.
func refill(conn *nft.Conn, stale []staleSet) error {
	for _, s := range stale {
		conn.FlushSet(s.kernel)
		if err := s.want.fill(conn, s.kernel); err != nil {
			return err
		}
	}
	return conn.Flush()
}
