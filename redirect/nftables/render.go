// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// register holds whatever a rule loads; each condition is done with it before
// the next begins.
const register = 1

// state is what a namespace must hold, in nf_tables' words.
type state struct {
	tables       []table
	loopbackAddr []netip.Prefix // at most one
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
		if f.LoopbackAddr.IsValid() {
			s.loopbackAddr = append(s.loopbackAddr, f.LoopbackAddr)
		}
	}
	return s, nil
}

func renderTable(f redirect.FamilyPlan) table {
	t := table{family: f.Family}
	for _, c := range f.Chains {
		out := chain{direction: c.Direction}
		for _, r := range c.Rules {
			if r.Match.Dest != nil {
				t.addSet(addrSet(r.Match.Dest, f.Family))
			}
			if r.Match.DestPorts != nil {
				t.addSet(portSet(r.Match.DestPorts))
			}
			out.rules = append(out.rules, rule{r, append(matchExprs(r.Match, f.Family), actionExprs(r)...)})
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
		policy := nft.ChainPolicyAccept
		kernel := conn.AddChain(&nft.Chain{
			Name: c.direction.String(), Table: own, Type: nft.ChainTypeNAT, Policy: &policy,
			Hooknum: hook(c.direction), Priority: nft.ChainPriorityNATDest,
		})
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

func hook(d redirect.Direction) *nft.ChainHook {
	if d == redirect.Inbound {
		return nft.ChainHookPrerouting
	}
	return nft.ChainHookOutput
}

// matchExprs writes each expression as the kernel gives it back, so that
// compare needs no knowledge of them.
func matchExprs(m redirect.Match, f redirect.Family) []expr.Any {
	out := metaEquals(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP})
	if m.OverLoopback {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, "lo")
		out = append(out, metaEquals(expr.MetaKeyOIFNAME, name)...)
	}
	if m.Source.IsValid() {
		out = append(out, addrInPrefix(sourceAddr(f), m.Source, expr.CmpOpEq)...)
	}
	if m.UID != 0 {
		out = append(out, metaEquals(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(m.UID))...)
	}
	if m.GID != 0 {
		out = append(out, metaEquals(expr.MetaKeySKGID, binaryutil.NativeEndian.PutUint32(m.GID))...)
	}
	if m.NotDest.IsValid() {
		out = append(out, addrInPrefix(destAddr(f), m.NotDest, expr.CmpOpNeq)...)
	}
	if m.NotDestPort != 0 {
		out = append(out, destPort(),
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: binaryutil.BigEndian.PutUint16(m.NotDestPort)})
	}
	if m.Dest != nil {
		out = append(out, destAddr(f), &expr.Lookup{SourceRegister: register, SetName: m.Dest.Name})
	}
	if m.DestPorts != nil {
		out = append(out, destPort(), &expr.Lookup{SourceRegister: register, SetName: m.DestPorts.Name})
	}
	return out
}

// actionExprs counts connections, not packets: a NAT chain sees only the first
// packet of each.
func actionExprs(r redirect.Rule) []expr.Any {
	if r.Action == redirect.Pass {
		return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictReturn}}
	}
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(r.Port)},
		&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}

func metaEquals(key expr.MetaKey, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value},
	}
}

func addrInPrefix(load expr.Any, p netip.Prefix, op expr.CmpOp) []expr.Any {
	out := []expr.Any{load}
	addr := p.Masked().Addr().AsSlice()
	if !p.IsSingleIP() {
		out = append(out, &expr.Bitwise{
			SourceRegister: register, DestRegister: register,
			Len: uint32(len(addr)), Mask: mask(p.Bits(), len(addr)), Xor: make([]byte, len(addr)),
		})
	}
	return append(out, &expr.Cmp{Op: op, Register: register, Data: addr})
}

func mask(bits, size int) []byte {
	out := make([]byte, size)
	for i := range bits {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

// Offsets and lengths are those of RFC 791 section 3.1 and RFC 8200 section 3.
func sourceAddr(f redirect.Family) *expr.Payload {
	if f == redirect.IPv4 {
		return payload(expr.PayloadBaseNetworkHeader, 12, 4)
	}
	return payload(expr.PayloadBaseNetworkHeader, 8, 16)
}

func destAddr(f redirect.Family) *expr.Payload {
	if f == redirect.IPv4 {
		return payload(expr.PayloadBaseNetworkHeader, 16, 4)
	}
	return payload(expr.PayloadBaseNetworkHeader, 24, 16)
}

func destPort() *expr.Payload {
	return payload(expr.PayloadBaseTransportHeader, 2, 2)
}

func payload(base expr.PayloadBase, offset, length uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}
