// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
)

// Text renders what Apply makes as input for `nft -f`, so that a person can
// read it, or try it where this program is not at hand.
func Text(p redirect.Plan) string {
	var b strings.Builder
	for _, f := range p.Families {
		name := family(f.Family) + " " + tableName
		fmt.Fprintf(&b, "add table %s\ndelete table %s\ntable %s {\n", name, name, name)
		for _, s := range renderTable(f).sets {
			fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\telements = %s\n\t}\n",
				s.name, s.typ.Name, strings.TrimPrefix(s.String(), s.typ.Name+" "))
		}
		for _, c := range f.Chains {
			fmt.Fprintf(&b, "\tchain %v {\n\t\ttype %s policy accept;\n", c.Direction, hookText(c.Direction))
			for _, r := range c.Rules {
				fmt.Fprintf(&b, "\t\t%s\n", ruleText(r, f.Family, c.Direction))
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

func ruleText(r redirect.Rule, f redirect.Family, d redirect.Direction) string {
	return "meta l4proto tcp" + matchText(r.Match, f, d) + " " + actionText(r) + fmt.Sprintf(" comment %q", r.Why)
}

// matchText renders the conditions in the order of matchExprs, each led by a space.
func matchText(m redirect.Match, f redirect.Family, d redirect.Direction) string {
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
	if m.Sources != nil {
		add(true, "%s saddr @%s", ip, m.Sources.Name)
	}
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
	if m.Dest != nil {
		add(true, "%s daddr @%s", ip, m.Dest.Name)
	}
	if m.DestPorts != nil {
		add(true, "tcp dport @%s", m.DestPorts.Name)
	}
	return b.String()
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
