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
			fmt.Fprintf(&b, "\tchain %v {\n\t\ttype nat hook %s priority -100; policy accept;\n", c.Direction, hookName(c.Direction))
			for _, r := range c.Rules {
				fmt.Fprintf(&b, "\t\t%s\n", ruleText(r, f.Family))
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

func hookName(d redirect.Direction) string {
	if d == redirect.Inbound {
		return "prerouting"
	}
	return "output"
}

func ruleText(r redirect.Rule, f redirect.Family) string {
	parts := []string{"meta l4proto tcp"}
	add := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	m, ip := r.Match, family(f)
	add(m.OverLoopback, `oifname "lo"`)
	add(m.Source.IsValid(), "%s saddr %v", ip, m.Source)
	add(m.UID != 0, "meta skuid %d", m.UID)
	add(m.GID != 0, "meta skgid %d", m.GID)
	add(m.NotDest.IsValid(), "%s daddr != %v", ip, m.NotDest)
	add(m.NotDestPort != 0, "tcp dport != %d", m.NotDestPort)
	if m.Dest != nil {
		add(true, "%s daddr @%s", ip, m.Dest.Name)
	}
	if m.DestPorts != nil {
		add(true, "tcp dport @%s", m.DestPorts.Name)
	}
	add(r.Action == redirect.Pass, "counter return")
	add(r.Action == redirect.Capture, "counter redirect to :%d", r.Port)
	return strings.Join(parts, " ") + fmt.Sprintf(" comment %q", r.Why)
}
