// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"github.com/shuntmesh/shunt/redirect"
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
	ipv6, err := b.hasIPv6()
	if err != nil {
		return state{}, err
	}
	var s state
	for _, f := range p.Families {
		if f.Family == redirect.IPv6 && !ipv6 {
			continue
		}
		s.tables = append(s.tables, renderTable(f))
		s.dialSource = s.dialSource || f.LoopbackAddr.IsValid()
	}
	return s, nil
}

func renderTable(f redirect.FamilyPlan) table {
	t := table{family: f.Family}
	for _, c := range f.Chains {
		out := chain{direction: c.Direction}
		for _, r := range c.Rules {
			for _, addrs := range []*redirect.AddrSet{r.Match.Sources, r.Match.Dest} {
				if addrs != nil {
					t.addSet(addrSet(addrs, f.Family))
				}
			}
			if r.Match.DestPorts != nil {
				t.addSet(portSet(r.Match.DestPorts))
			}
			out.rules = append(out.rules, rule{r, append(matchExprs(r.Match, f.Family, c.Direction), actionExprs(r)...)})
		}
		t.chains = append(t.chains, out)
	}
	return t
}

// addSet adds a set that no earlier rule has named.
func (t *table) addSet(s set) {
	if !slices.ContainsFunc(t.sets, func(other set) bool { return other.name == s.name }) {
		t.sets = append(t.sets, s)
	}
}

// add puts the creation of the table into the batch.
func (t table) add(conn *nft.Conn) error {
	own := conn.AddTable(&nft.Table{Name: tableName, Family: tableFamily(t.family)})
	for i, s := range t.sets {
		if err := s.add(conn, own, uint32(i+1)); err != nil {
			return err
		}
	}
	for _, c := range t.chains {
		kernel := conn.AddChain(baseChain(own, c.direction))
		for _, r := range c.rules {
			conn.AddRule(&nft.Rule{
				Table: own, Chain: kernel, Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.plan.Why),
			})
		}
	}
	return nil
}

func tableFamily(f redirect.Family) nft.TableFamily {
	if f == redirect.IPv4 {
		return nft.TableFamilyIPv4
	}
	return nft.TableFamilyIPv6
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
