// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/shuntmesh/shunt/redirect"
)

// interfaceLoopback stands in a rule for "both ends are in the pod".
const interfaceLoopback = "lo"

// refuse names what of a plan the programs can't do, and others can.
func refuse(p redirect.Plan) error {
	for _, f := range p.Families {
		for _, chain := range f.Chains {
			for _, r := range chain.Rules {
				if why := unable(r.Match); why != "" {
					return fmt.Errorf("%v %v, %s: %w: eBPF %s", f.Family, chain.Direction, r.Why, errors.ErrUnsupported, why)
				}
			}
		}
	}
	return nil
}

func unable(m redirect.Match) string {
	switch {
	case m.Invalid:
		return "doesn't see packets, and so can't drop those that connection tracking can't place (without --drop-invalid it works)"
	case m.Interface != "" && m.Interface != interfaceLoopback:
		return "decides in connect(), before the kernel chooses an interface, and can't exclude " + m.Interface
	default:
		return ""
	}
}

// decide translates the rules of a chain. That a connection was open before
// holds for none: only new ones are asked about.
func decide(f redirect.Family, chain redirect.Chain) []decision {
	var out []decision
	for i, r := range chain.Rules {
		if r.Match.Opened {
			continue
		}
		d := decision{conditions: conditions(r.Match), action: actionPass, where: fmt.Sprintf("%v %v rule %d", f, chain.Direction, i+1)}
		if r.Action == redirect.Capture {
			d.action, d.port = actionCapture, r.Port
		}
		out = append(out, d)
	}
	return out
}

func conditions(m redirect.Match) []condition {
	var out []condition
	ask := func(f field, negated bool, spans []span) { out = append(out, condition{f, negated, spans}) }
	if m.Interface != "" {
		ask(fieldInside, false, numbers(1))
	}
	if m.Source.IsValid() {
		ask(fieldSource, false, prefixSpans(m.Source))
	}
	if m.Sources != nil {
		ask(fieldSource, false, prefixSpans(m.Sources.Prefixes...))
	}
	if m.NotDest.IsValid() {
		ask(fieldDest, true, prefixSpans(m.NotDest))
	}
	if m.Dest != nil {
		ask(fieldDest, false, prefixSpans(m.Dest.Prefixes...))
	}
	if m.NotDestPort != 0 {
		ask(fieldPort, true, numbers(uint32(m.NotDestPort)))
	}
	if m.DestPorts != nil {
		ask(fieldPort, false, portSpans(m.DestPorts))
	}
	if m.UID != nil {
		ask(fieldUID, false, numbers(*m.UID))
	}
	if m.GID != nil {
		ask(fieldGID, false, numbers(*m.GID))
	}
	if len(m.NotGIDs) > 0 {
		ask(fieldGID, true, numbers(m.NotGIDs...))
	}
	if m.Listened {
		ask(fieldHeard, false, numbers(1))
	}
	if len(out) == 0 {
		ask(fieldNothing, false, numbers(0))
	}
	return out
}

// fold joins neighbours that do the same for different owners: a plan has a rule
// for each of them, a policy a set.
func fold(decisions []decision) []decision {
	var out []decision
	for _, d := range decisions {
		if last := len(out) - 1; last >= 0 {
			if joined, ok := join(out[last], d); ok {
				out[last] = joined
				continue
			}
		}
		out = append(out, d)
	}
	return out
}

// join succeeds where two decisions differ in one owner alone, which stands last.
func join(a, b decision) (decision, bool) {
	last := len(a.conditions) - 1
	if a.action != b.action || a.port != b.port || last != len(b.conditions)-1 {
		return a, false
	}
	x, y := a.conditions[last], b.conditions[last]
	if x.field != y.field || x.negated || y.negated || x.field != fieldUID && x.field != fieldGID ||
		!reflect.DeepEqual(a.conditions[:last], b.conditions[:last]) {
		return a, false
	}
	conditions := append([]condition{}, a.conditions[:last]...)
	x.spans = merge(append(append([]span{}, x.spans...), y.spans...))
	a.conditions = append(conditions, x)
	return a, true
}
