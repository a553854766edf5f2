// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"errors"
	"fmt"
	"slices"
)

// ClosedPorts is what becomes of a connection that rules would capture on its
// way in, while nobody in the pod listens for it. A proxy's port accepts
// whatever is captured, so that a caller, or a probe by TCP, would connect to
// nobody.
type ClosedPorts uint8

// The ways to treat closed ports.
const (
	ClosedAuto    ClosedPorts = iota // ClosedRefuse, or ClosedCapture where a backend can't tell who listens
	ClosedRefuse                     // left alone, so that the kernel refuses it as without a proxy
	ClosedCapture                    // captured
)

// closedPortsNames lists the names in the order of the values.
func closedPortsNames() []string { return []string{"auto", "refuse", "capture"} }

// ParseClosedPorts is the reverse of String.
func ParseClosedPorts(s string) (ClosedPorts, error) {
	i := slices.Index(closedPortsNames(), s)
	if i < 0 {
		return 0, errors.New("not possible (allowed: refuse, capture, or auto for refuse where the kernel can tell who listens)")
	}
	return ClosedPorts(i), nil
}

// String returns "auto", "refuse" or "capture".
func (c ClosedPorts) String() string {
	if names := closedPortsNames(); int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("ClosedPorts(%d)", uint8(c))
}

func (c ClosedPorts) validate() error {
	if c > ClosedCapture {
		return &ConfigError{"--closed-ports", c.String(), "auto, refuse, capture"}
	}
	return nil
}

// asksWhoListens reports whether some rule depends on it.
func (p Plan) asksWhoListens() bool {
	for _, f := range p.Families {
		for _, c := range f.Chains {
			if slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Match.Listened }) {
				return true
			}
		}
	}
	return false
}

// CapturingClosed returns the plan whose rules take whatever they would take if
// somebody listened.
func (p Plan) CapturingClosed() Plan {
	out := Plan{Families: slices.Clone(p.Families)}
	for i := range out.Families {
		f := &out.Families[i]
		f.Chains = slices.Clone(f.Chains)
		for j := range f.Chains {
			c := &f.Chains[j]
			c.Rules = slices.Clone(c.Rules)
			for k := range c.Rules {
				c.Rules[k].Match.Listened = false
			}
		}
	}
	return out
}
