// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/ipv6"
)

// state is what a namespace must hold, in nf_tables' words.
type state struct {
	tables     []table
	dialSource bool // on the loopback interface
}

// table, chain and rule are compared with what the kernel holds.
type table struct {
	family redirect.Family
	sets   []set
	chains []chain
}

type chain struct {
	direction redirect.Direction
	rules     []rule
}

type rule struct {
	plan  redirect.Rule
	exprs []expr.Any
}

// render turns a plan into state, without families that the kernel lacks.
func (b Backend) render(p redirect.Plan) (state, error) {
	p, err := ipv6.Reduce(p, b.withoutIPv6)
	if err != nil {
		return state{}, err
	}
	var s state
	for _, f := range p.Families {
		s.tables = append(s.tables, renderTable(f))
		s.dialSource = s.dialSource || f.LoopbackAddr.IsValid()
	}
	return s, nil
}

// suffixLength is how many hexadecimal digits tell one Apply's sets from another's.
const suffixLength = 8

// renderTable names sets after the rules that look them up: other rules have
// other sets, so that neither loses its own while the kernel goes over from one
// to the other. Lists are no part of the name, since a set can be refilled.
func renderTable(f redirect.FamilyPlan) table {
	bare := renderNamed(f, "")
	h := sha256.New()
	for _, c := range bare.chains {
		for _, r := range c.rules {
			fmt.Fprintf(h, "%v %s\n", c.direction, exprsText(r.exprs))
		}
	}
	return renderNamed(f, "_"+hex.EncodeToString(h.Sum(nil))[:suffixLength])
}

func renderNamed(f redirect.FamilyPlan, suffix string) table {
	t := table{family: f.Family}
	for _, c := range f.Chains {
		out := chain{direction: c.Direction}
		for _, r := range c.Rules {
			m := r.Match
			for _, addrs := range []*redirect.AddrSet{m.Sources, m.Dest} {
				if addrs != nil {
					t.addSet(addrSet(addrs, f.Family), suffix)
				}
			}
			if m.DestPorts != nil {
				t.addSet(portSet(m.DestPorts), suffix)
			}
			out.rules = append(out.rules, rule{r, append(matchExprs(m, f.Family, c.Direction, suffix), actionExprs(r)...)})
		}
		t.chains = append(t.chains, out)
	}
	return t
}

// addSet adds a set that no earlier rule has named.
func (t *table) addSet(s set, suffix string) {
	s.name += suffix
	if !slices.ContainsFunc(t.sets, func(other set) bool { return other.name == s.name }) {
		t.sets = append(t.sets, s)
	}
}

// baseChain hooks a direction in: NAT where destinations are translated, and a
// filter ahead of it for what arrives.
func baseChain(t *nft.Table, d redirect.Direction) *nft.Chain {
	policy := nft.ChainPolicyAccept
	c := &nft.Chain{
		Name: d.String(), Table: t, Policy: &policy,
		Type: nft.ChainTypeNAT, Hooknum: nft.ChainHookPrerouting, Priority: nft.ChainPriorityNATDest,
	}
	switch d {
	case redirect.Outbound:
		c.Hooknum = nft.ChainHookOutput
	case redirect.Arriving:
		c.Type, c.Priority = nft.ChainTypeFilter, nft.ChainPriorityMangle
	}
	return c
}
