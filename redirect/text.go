// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"encoding/json"
	"fmt"
	"strings"
)

// String renders the plan for people: one line a rule, in order of decision.
func (p Plan) String() string {
	var b strings.Builder
	for _, f := range p.Families {
		for _, c := range f.Chains {
			fmt.Fprintf(&b, "%v %v\n", f.Family, c.Direction)
			for i, r := range c.Rules {
				fmt.Fprintf(&b, "  %2d  %v\n", i+1, r)
			}
		}
		if f.LoopbackAddr.IsValid() {
			fmt.Fprintf(&b, "%v address %v on the loopback interface\n", f.Family, f.LoopbackAddr)
		}
	}
	if p.MayCaptureClosed {
		b.WriteString("where a backend can't tell who listens: the same without \"listened\"\n")
	}
	return b.String()
}

// String renders the rule as "tcp <conditions> -> <action>  # why".
func (r Rule) String() string {
	action := r.Action.String()
	if r.Action == Capture {
		action = fmt.Sprintf("%v at %d", r.Action, r.Port)
	}
	return fmt.Sprintf("tcp%v -> %s  # %s", r.Match, action, r.Why)
}

// String renders the conditions, each led by a space.
func (m Match) String() string {
	var b strings.Builder
	say := func(when bool, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	say(m.Invalid, "invalid")
	say(m.Opened, "opened")
	say(m.Interface != "", "over %s", m.Interface)
	say(m.Source.IsValid(), "from %v", m.Source)
	say(m.Sources != nil, "from %v", m.Sources)
	if m.UID != nil {
		say(true, "uid %d", *m.UID)
	}
	if m.GID != nil {
		say(true, "gid %d", *m.GID)
	}
	say(m.NotGIDs != nil, "gid not of %v", m.NotGIDs)
	say(m.NotDest.IsValid(), "not to %v", m.NotDest)
	say(m.NotDestPort != 0, "not port %d", m.NotDestPort)
	say(m.Dest != nil, "to %v", m.Dest)
	say(m.DestPorts != nil, "port %v", m.DestPorts)
	say(m.Listened, "listened")
	return b.String()
}

// String returns "name{80,9000-9010}".
func (s *PortSet) String() string { return s.Name + braces(s.Ranges) }

// String returns "name{10.0.0.0/8,192.0.2.1/32}".
func (s *AddrSet) String() string { return s.Name + braces(s.Prefixes) }

func braces[T fmt.Stringer](items []T) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = item.String()
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// MarshalText returns what String returns.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText returns what String returns.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalText returns what String returns.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalJSON writes ranges as a user writes them: "80", "9000-9010".
func (s *PortSet) MarshalJSON() ([]byte, error) {
	ranges := make([]string, len(s.Ranges))
	for i, r := range s.Ranges {
		ranges[i] = r.String()
	}
	return json.Marshal(struct {
		Name   string   `json:"name"`
		Ranges []string `json:"ranges"`
	}{s.Name, ranges})
}
