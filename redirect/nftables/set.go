// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/shuntmesh/shunt/redirect"
)

// elementsPerMessage keeps one message's elements below the 64 KiB that the
// length of a netlink attribute can say in its 16 bits. It
// is even, so that an interval's two ends stay together.
const elementsPerMessage = 512

// set is a named interval set. Named, so that a later change of a list touches
// its elements alone.
type set struct {
	name      string
	typ       nft.SetDatatype
	intervals []interval // sorted, neither overlapping nor adjacent
}

// interval is inclusive; both keys are in network byte order.
type interval struct {
	first, last []byte
}

func portSet(s *redirect.PortSet) set {
	out := set{name: s.Name, typ: nft.TypeInetService}
	for _, r := range s.Ranges {
		out.join(interval{binaryutil.BigEndian.PutUint16(r.First), binaryutil.BigEndian.PutUint16(r.Last)})
	}
	return out
}

func addrSet(s *redirect.AddrSet, f redirect.Family) set {
	out := set{name: s.Name, typ: nft.TypeIPAddr}
	if f == redirect.IPv6 {
		out.typ = nft.TypeIP6Addr
	}
	for _, p := range s.Prefixes {
		first := p.Masked().Addr().AsSlice()
		last := bytes.Clone(first)
		for i, m := range mask(p.Bits(), len(last)) {
			last[i] |= ^m
		}
		out.join(interval{first, last})
	}
	return out
}

// join appends an interval that begins behind all others, and joins it with its
// neighbour: the end of one and the begin of the next would be the same key.
func (s *set) join(next interval) {
	if n := len(s.intervals); n > 0 && bytes.Equal(successor(s.intervals[n-1].last), next.first) {
		s.intervals[n-1].last = next.last
		return
	}
	s.intervals = append(s.intervals, next)
}

// add puts the creation of the set and its elements into the batch. One that is
// there already, from an Apply that was killed, is emptied first.
func (s set) add(conn *nft.Conn, t *nft.Table) error {
	kernel := &nft.Set{Table: t, Name: s.name, KeyType: s.typ, Interval: true}
	if err := conn.AddSet(kernel, nil); err != nil {
		return fmt.Errorf("add set %s: %w", s.name, err)
	}
	conn.FlushSet(kernel)
	return s.fill(conn, kernel)
}

func (s set) fill(conn *nft.Conn, kernel *nft.Set) error {
	for part := range slices.Chunk(s.elements(), elementsPerMessage) {
		if err := conn.SetAddElements(kernel, part); err != nil {
			return fmt.Errorf("fill set %s: %w", s.name, err)
		}
	}
	return nil
}

// elements returns the kernel's form of an interval: its first key, and the
// first key behind it, which is left out at the end of the key space.
func (s set) elements() []nft.SetElement {
	var out []nft.SetElement
	for _, i := range s.intervals {
		out = append(out, nft.SetElement{Key: i.first})
		if end := successor(i.last); end != nil {
			out = append(out, nft.SetElement{Key: end, IntervalEnd: true})
		}
	}
	return out
}

// setOf reads what the kernel holds back into a set.
func setOf(name string, typ nft.SetDatatype, elements []nft.SetElement) set {
	out := set{name: name, typ: typ}
	slices.SortFunc(elements, func(a, b nft.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
			return c
		}
		if a.IntervalEnd {
			return -1
		}
		return 1
	})
	for i, e := range elements {
		if e.IntervalEnd {
			continue
		}
		last := bytes.Repeat([]byte{0xff}, len(e.Key))
		if i+1 < len(elements) {
			last = predecessor(elements[i+1].Key)
		}
		out.join(interval{e.Key, last})
	}
	return out
}

// String returns the type and the elements as text.
func (s set) String() string {
	parts := make([]string, len(s.intervals))
	for i, v := range s.intervals {
		parts[i] = keyText(v.first)
		if !bytes.Equal(v.first, v.last) {
			parts[i] += "-" + keyText(v.last)
		}
	}
	return s.typ.Name + " { " + strings.Join(parts, ", ") + " }"
}

func keyText(key []byte) string {
	if len(key) == 2 {
		return fmt.Sprint(binaryutil.BigEndian.Uint16(key))
	}
	if addr, ok := netip.AddrFromSlice(key); ok {
		return addr.String()
	}
	return fmt.Sprintf("%#x", key)
}

// successor returns nil behind the last key.
func successor(key []byte) []byte {
	out := bytes.Clone(key)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]++
		if out[i] != 0 {
			return out
		}
	}
	return nil
}

func predecessor(key []byte) []byte {
	out := bytes.Clone(key)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]--
		if out[i] != 0xff {
			break
		}
	}
	return out
}
