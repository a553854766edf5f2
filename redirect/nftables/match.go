// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// register holds whatever a rule loads; each condition is done with it before
// the next begins.
const register = 1

// matchExprs writes each expression as the kernel gives it back, so that
// compare needs no knowledge of them. The suffix is that of the sets' names.
func matchExprs(m redirect.Match, f redirect.Family, d redirect.Direction, suffix string) []expr.Any {
	out := metaIs(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP})
	if m.Invalid {
		out = append(out, ctInvalid()...)
	}
	if m.Opened {
		out = append(out, tcpOpened()...)
	}
	if m.Interface != "" {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, m.Interface)
		out = append(out, metaIs(interfaceKey(d), expr.CmpOpEq, name)...)
	}
	if m.Source.IsValid() {
		out = append(out, addrInPrefix(sourceAddr(f), m.Source, expr.CmpOpEq)...)
	}
	if m.Sources != nil {
		out = append(out, sourceAddr(f), &expr.Lookup{SourceRegister: register, SetName: m.Sources.Name + suffix})
	}
	out = append(out, ownerExprs(m)...)
	if m.NotDest.IsValid() {
		out = append(out, addrInPrefix(destAddr(f), m.NotDest, expr.CmpOpNeq)...)
	}
	if m.NotDestPort != 0 {
		out = append(out, destPort(),
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: binaryutil.BigEndian.PutUint16(m.NotDestPort)})
	}
	if m.Dest != nil {
		out = append(out, destAddr(f), &expr.Lookup{SourceRegister: register, SetName: m.Dest.Name + suffix})
	}
	if m.DestPorts != nil {
		out = append(out, destPort(), &expr.Lookup{SourceRegister: register, SetName: m.DestPorts.Name + suffix})
	}
	if m.Listened {
		out = append(out, socketFound()...)
	}
	return out
}

func ownerExprs(m redirect.Match) []expr.Any {
	var out []expr.Any
	if m.UID != nil {
		out = append(out, metaIs(expr.MetaKeySKUID, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(*m.UID))...)
	}
	if m.GID != nil {
		out = append(out, metaIs(expr.MetaKeySKGID, expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(*m.GID))...)
	}
	for _, gid := range m.NotGIDs {
		out = append(out, metaIs(expr.MetaKeySKGID, expr.CmpOpNeq, binaryutil.NativeEndian.PutUint32(gid))...)
	}
	return out
}

func interfaceKey(d redirect.Direction) expr.MetaKey {
	if d == redirect.Outbound {
		return expr.MetaKeyOIFNAME
	}
	return expr.MetaKeyIIFNAME
}

// tcpOpened tests the flags of RFC 9293 section 3.1: of FIN, SYN, RST and ACK, a
// packet that opens a connection has SYN alone.
func tcpOpened() []expr.Any {
	const fin, syn, rst, ack = 1, 2, 4, 16
	return []expr.Any{
		payload(expr.PayloadBaseTransportHeader, 13, 1),
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{syn}},
	}
}

// socketFound looks for the socket that would take the packet, as the kernel
// does when the packet is delivered; where there is none, the rule doesn't
// match. What it says of the socket, 0 or 1, is of no interest.
func socketFound() []expr.Any {
	return []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: register},
		&expr.Cmp{Op: expr.CmpOpLte, Register: register, Data: []byte{1}},
	}
}

// ctInvalid tests a bit of the connection tracking state.
func ctInvalid() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitINVALID), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
	}
}

// actionExprs counts connections, not packets, but for drops: a NAT chain sees
// only the first packet of each.
func actionExprs(r redirect.Rule) []expr.Any {
	switch r.Action {
	case redirect.Pass:
		return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictReturn}}
	case redirect.Drop:
		return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
	default:
		return []expr.Any{
			&expr.Counter{},
			&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(r.Port)},
			&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
		}
	}
}

func metaIs(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: value},
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
