// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The layout of bpf/maps.h, written down a second time: the compiler's own list
// of types leaves out those that no map names. TestLayout holds the sizes.

// entry is one of a policy.
type entry [entrySize]byte

const entrySize = 32

// Chains of a head.
const (
	chainIn4 = iota
	chainIn6
	chainOut4
	chainOut6
	chainCount
)

type set struct{ First, Count uint16 }

// String returns such as "2 from 31": so many ranges, and the entry of the first.
func (s set) String() string { return fmt.Sprintf("%d from %d", s.Count, s.First) }

type head struct {
	Chain    [chainCount]uint16
	Own      set
	Routes   set
	Sources  uint16
	Reserved [14]uint8
}

// field is what a step asks about.
type field uint8

const (
	fieldNothing field = iota
	fieldInside
	fieldSource
	fieldDest
	fieldPort
	fieldUID
	fieldGID
	fieldHeard
)

// String returns the field's name in a difference.
func (f field) String() string {
	names := [...]string{"nothing", "inside the pod", "source", "destination", "port", "uid", "gid", "heard"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("field %d", f)
}

// What a step does where it holds.
const (
	actionNext uint8 = iota
	actionPass
	actionCapture
)

type step struct {
	Field     uint8
	Negated   uint8
	Action    uint8
	Reserved  uint8
	Port      uint16
	Then      uint16
	Otherwise uint16
	Set       set
	Reserved2 [18]uint8
}

// wide is an address as a number, or a number.
type wide struct{ High, Low uint64 }

// span is a range of them; both ends belong to it.
type span struct{ First, Last wide }

// encode lays out a head, a step or a span as the kernel has it.
func encode(value any) (entry, error) {
	var e entry
	n, err := binary.Encode(e[:], binary.NativeEndian, value)
	if err == nil && n != entrySize {
		err = fmt.Errorf("it has %d bytes, want %d", n, entrySize)
	}
	if err != nil {
		return e, fmt.Errorf("encode %T: %w", value, err)
	}
	return e, nil
}

// entryKey finds an entry.
type entryKey struct {
	Netns             uint64
	Generation, Index uint32
}

// podValue says which policy holds. Generation 0 is none. Who listens is asked
// of one roll; while another is taken, both are kept.
type podValue struct {
	Generation  uint32
	InboundPort uint16
	Asked, Kept roll
}

// policy is what is written for one pod.
type policy struct {
	entries     []entry
	about       []placed // what each entry is, for people
	inboundPort uint16
	asks        bool // who listens
}

func wideOf(a netip.Addr) wide {
	b := a.As16() // IPv4 mapped
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (w wide) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.High)
	binary.BigEndian.PutUint64(b[8:], w.Low)
	return netip.AddrFrom16(b).Unmap()
}

func (w wide) less(other wide) bool {
	return w.High < other.High || w.High == other.High && w.Low < other.Low
}

// next returns the following number, and false behind the last.
func (w wide) next() (wide, bool) {
	w.Low++
	if w.Low == 0 {
		w.High++
	}
	return w, w != wide{}
}

// previous returns the number before; that before 0 is the last.
func (w wide) previous() wide {
	if w.Low == 0 {
		w.High--
	}
	w.Low--
	return w
}
