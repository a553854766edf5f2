// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"slices"

	"github.com/shuntmesh/shunt/redirect"
)

// What the programs walk through at most, bpf/judge.h.
const (
	maxSteps = 48
	maxSpans = 2047
)

// condition is a question of a rule, all of which must be answered with yes.
type condition struct {
	field   field
	negated bool
	spans   []span
}

// decision is a rule in the programs' words.
type decision struct {
	conditions []condition
	action     uint8
	port       uint16
	where      string
}

// compile turns a plan, and what the pod looks like, into a policy. What the
// programs can't do it refuses by name.
func compile(p redirect.Plan, s surroundings) (policy, error) {
	if err := refuse(p); err != nil {
		return policy{}, err
	}
	c := compiler{entries: []placed{{value: &head{}, where: "head"}}}
	var h head
	for _, f := range p.Families {
		for _, chain := range f.Chains {
			at, err := c.chain(f.Family, chain)
			if err != nil {
				return policy{}, err
			}
			h.Chain[chainIndex(f.Family, chain.Direction)] = at
		}
	}
	if err := c.surroundings(&h, s); err != nil {
		return policy{}, err
	}
	return c.finish(h)
}

func chainIndex(f redirect.Family, d redirect.Direction) int {
	index := chainIn4
	if d == redirect.Outbound {
		index = chainOut4
	}
	if f == redirect.IPv6 {
		index++
	}
	return index
}

// placed is an entry before it is encoded. Of a step, spans are its set, which
// is placed behind all steps.
type placed struct {
	value any // *head, *step or span
	spans []span
	where string
}

type compiler struct {
	entries     []placed
	inboundPort uint16
	asks        bool
}

// chain places a chain's steps and returns the index of the first.
func (c *compiler) chain(f redirect.Family, chain redirect.Chain) (first uint16, err error) {
	decisions := fold(decide(f, chain))
	if len(decisions) == 0 {
		return 0, nil
	}
	begin := len(c.entries)
	for i, d := range decisions {
		behind := len(c.entries) + len(d.conditions)
		if i == len(decisions)-1 {
			behind = 0
		}
		c.decision(d, uint16(behind))
		if d.action == actionCapture && chain.Direction == redirect.Inbound {
			if c.inboundPort != 0 && c.inboundPort != d.port {
				return 0, fmt.Errorf("compile %s: two ports of the proxy, %d and %d, want one", d.where, c.inboundPort, d.port)
			}
			c.inboundPort = d.port
		}
	}
	if steps := len(c.entries) - begin; steps > maxSteps {
		return 0, fmt.Errorf("compile %v %v: %d questions, want %d at most", f, chain.Direction, steps, maxSteps)
	}
	return uint16(begin), nil
}

// decision places one step for each condition. The last one has the action.
func (c *compiler) decision(d decision, otherwise uint16) {
	for i, cond := range d.conditions {
		c.asks = c.asks || cond.field == fieldHeard
		s := &step{Field: uint8(cond.field), Action: actionNext, Then: uint16(len(c.entries) + 1), Otherwise: otherwise}
		if cond.negated {
			s.Negated = 1
		}
		if i == len(d.conditions)-1 {
			s.Action, s.Port, s.Then = d.action, d.port, 0
		}
		c.entries = append(c.entries, placed{s, cond.spans, d.where})
	}
}

// surroundings places the pod's addresses and ways.
func (c *compiler) surroundings(h *head, s surroundings) (err error) {
	if h.Own, err = c.place(addrSpans(s.own), "addresses of the pod"); err != nil {
		return err
	}
	ways := flatten(append(slices.Clone(s.routes), linkLocal()))
	var dests []span
	for _, w := range ways {
		dests = append(dests, w.span)
	}
	if h.Routes, err = c.place(dests, "routes of the pod"); err != nil {
		return err
	}
	h.Sources = uint16(len(c.entries))
	for _, w := range ways {
		own := span{wideOf(w.source), wideOf(w.source)}
		c.entries = append(c.entries, placed{value: own, where: "sources of the pod"})
	}
	return nil
}

// place returns where spans are found. Equal ones, which many steps may share,
// are placed once.
func (c *compiler) place(spans []span, where string) (set, error) {
	if len(spans) > maxSpans {
		return set{}, fmt.Errorf("compile %s: %d ranges, want %d at most", where, len(spans), maxSpans)
	}
	for at := range c.entries {
		if c.holds(at, spans) {
			return set{uint16(at), uint16(len(spans))}, nil
		}
	}
	first := len(c.entries)
	for _, s := range spans {
		c.entries = append(c.entries, placed{value: s, where: where})
	}
	return set{uint16(first), uint16(len(spans))}, nil
}

func (c *compiler) holds(at int, spans []span) bool {
	if len(spans) == 0 || at+len(spans) > len(c.entries) {
		return false
	}
	return !slices.ContainsFunc(spans, func(s span) bool {
		at++
		return c.entries[at-1].value != s
	})
}

// finish places the steps' sets and encodes everything.
func (c *compiler) finish(h head) (policy, error) {
	c.entries[0].value = &h
	for _, e := range slices.Clone(c.entries) {
		s, ok := e.value.(*step)
		if !ok {
			continue
		}
		placed, err := c.place(e.spans, e.where)
		if err != nil {
			return policy{}, err
		}
		s.Set = placed
	}
	if len(c.entries) > 1<<16 {
		return policy{}, fmt.Errorf("compile plan: %d entries, want %d at most", len(c.entries), 1<<16)
	}
	out := policy{inboundPort: c.inboundPort, asks: c.asks}
	for _, e := range c.entries {
		encoded, err := encode(e.value)
		if err != nil {
			return policy{}, err
		}
		out.entries, out.about = append(out.entries, encoded), append(out.about, e)
	}
	return out, nil
}
