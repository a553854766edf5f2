// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/shuntmesh/shunt/redirect"
)

// compare returns a *redirect.Difference for the first thing that is not as
// wanted.
func (pd *pod) compare(want policy) error {
	got, err := pd.value()
	if err != nil {
		return err
	}
	if got.Generation == 0 {
		return &redirect.Difference{Where: "pod", Want: "a policy", Got: "none"}
	}
	state, err := pd.linked()
	if err != nil {
		return err
	}
	if state != here {
		return &redirect.Difference{Where: "inbound", Want: here.String(), Got: state.String()}
	}
	if got.InboundPort != want.inboundPort {
		return &redirect.Difference{Where: "inbound port", Want: fmt.Sprint(want.inboundPort), Got: fmt.Sprint(got.InboundPort)}
	}
	if asks := got.Asked != 0; asks != want.asks {
		return &redirect.Difference{Where: "asking who listens", Want: fmt.Sprint(want.asks), Got: fmt.Sprint(asks)}
	}
	if err := pd.comparePolicy(got.Generation, want); err != nil || !want.asks {
		return err
	}
	return pd.compareListeners(got.Asked)
}

func (pd *pod) comparePolicy(generation uint32, want policy) error {
	for i, w := range want.entries {
		var got entry
		err := pd.maps.policies.Lookup(entryKey{pd.cookie, generation, uint32(i)}, &got)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return &redirect.Difference{Where: want.about[i].where, Want: want.about[i].describe(w), Got: "nothing"}
		}
		if err != nil {
			return fmt.Errorf("read policy: %w", hint(err))
		}
		if got != w {
			return &redirect.Difference{Where: want.about[i].where, Want: want.about[i].describe(w), Got: want.about[i].describe(got)}
		}
	}
	held, err := pd.count(generation)
	if err == nil && int(held) != len(want.entries) {
		return &redirect.Difference{Where: "policy", Want: fmt.Sprint(len(want.entries), " entries"), Got: fmt.Sprint(held)}
	}
	return err
}

// describe says in words what is in the place of an entry.
func (p placed) describe(e entry) string {
	switch p.value.(type) {
	case *head:
		return describe[head](e)
	case *step:
		return describe[step](e)
	default:
		return describe[span](e)
	}
}

func describe[T fmt.Stringer](e entry) string {
	var v T
	if _, err := binary.Decode(e[:], binary.NativeEndian, &v); err != nil {
		return err.Error()
	}
	return v.String()
}

// String returns where everything begins.
func (h head) String() string {
	return fmt.Sprintf("chains at %v, own addresses %v, routes %v, sources at %d", h.Chain, h.Own, h.Routes, h.Sources)
}

// String returns such as "port in 2 from 31 -> capture at 15001, else entry 7".
func (s step) String() string {
	in := "in"
	if s.Negated != 0 {
		in = "not in"
	}
	action := fmt.Sprintf("action %d", s.Action)
	switch s.Action {
	case actionNext:
		action = fmt.Sprintf("entry %d", s.Then)
	case actionPass:
		action = "pass"
	case actionCapture:
		action = fmt.Sprintf("capture at %d", s.Port)
	}
	return fmt.Sprintf("%v %s %v -> %s, else entry %d", field(s.Field), in, s.Set, action, s.Otherwise)
}

// String returns the ends, as numbers where they are small.
func (r span) String() string {
	if r.First.High == 0 && r.First.Low>>32 == 0 {
		return fmt.Sprintf("%d to %d", r.First.Low, r.Last.Low)
	}
	return fmt.Sprintf("%v to %v", r.First.addr(), r.Last.addr())
}
