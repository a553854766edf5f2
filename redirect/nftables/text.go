// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"strings"

	"github.com/google/nftables/expr"

	"github.com/shuntmesh/shunt/redirect"
)

// Text renders what Apply makes as input for `nft -f`, so that a person can
// read it, or try it where this program is not at hand.
func Text(p redirect.Plan) string {
	var b strings.Builder
	for _, f := range p.Families {
		name := family(f.Family) + " " + tableName
		fmt.Fprintf(&b, "add table %s\ndelete table %s\ntable %s {\n", name, name, name)
		rendered := renderTable(f)
		for _, s := range rendered.sets {
			fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\telements = %s\n\t}\n",
				s.name, s.typ.Name, strings.TrimPrefix(s.String(), s.typ.Name+" "))
		}
		for _, c := range rendered.chains {
			fmt.Fprintf(&b, "\tchain %v {\n\t\ttype %s policy accept;\n", c.direction, hookText(c.direction))
			for _, r := range c.rules {
				fmt.Fprintf(&b, "\t\t%s\n", ruleText(r, f.Family, c.direction))
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func family(f redirect.Family) string {
	if f == redirect.IPv4 {
		return "ip"
	}
	return "ip6"
}

func hookText(d redirect.Direction) string {
	switch d {
	case redirect.Inbound:
		return "nat hook prerouting priority -100;"
	case redirect.Outbound:
		return "nat hook output priority -100;"
	default:
		return "filter hook prerouting priority -150;"
	}
}

func ruleText(r rule, f redirect.Family, d redirect.Direction) string {
	return "meta l4proto tcp" + matchText(r, f, d) + " " + actionText(r.plan) + fmt.Sprintf(" comment %q", r.plan.Why)
}

// matchText renders the conditions in the order of matchExprs, each led by a space.
func matchText(r rule, f redirect.Family, d redirect.Direction) string {
	m := r.plan.Match
	var b strings.Builder
	add := func(when bool, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	ip := family(f)
	add(m.Invalid, "ct state invalid")
	add(m.Opened, "tcp flags & (fin | syn | rst | ack) != syn")
	add(m.Interface != "" && d == redirect.Outbound, "oifname %q", m.Interface)
	add(m.Interface != "" && d != redirect.Outbound, "iifname %q", m.Interface)
	add(m.Source.IsValid(), "%s saddr %v", ip, m.Source)
	add(m.Sources != nil, "%s saddr @%s", ip, r.setName())
	if m.UID != nil {
		add(true, "meta skuid %d", *m.UID)
	}
	if m.GID != nil {
		add(true, "meta skgid %d", *m.GID)
	}
	for _, gid := range m.NotGIDs {
		add(true, "meta skgid != %d", gid)
	}
	add(m.NotDest.IsValid(), "%s daddr != %v", ip, m.NotDest)
	add(m.NotDestPort != 0, "tcp dport != %d", m.NotDestPort)
	add(m.Dest != nil, "%s daddr @%s", ip, r.setName())
	add(m.DestPorts != nil, "tcp dport @%s", r.setName())
	add(m.Listened, "socket transparent <= 1")
	return b.String()
}

// setName returns the name of the set that the rule looks up; a rule has one at
// most.
func (r rule) setName() string {
	for _, e := range r.exprs {
		if lookup, ok := e.(*expr.Lookup); ok {
			return lookup.SetName
		}
	}
	return ""
}

func actionText(r redirect.Rule) string {
	switch r.Action {
	case redirect.Pass:
		return "counter return"
	case redirect.Drop:
		return "counter drop"
	default:
		return fmt.Sprintf("counter redirect to :%d", r.Port)
	}
}
