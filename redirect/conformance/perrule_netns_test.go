// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/shuntmesh/shunt/redirect"
)

// perRule applies a Plan as meshes did for years: one process for each rule. It
// is the peer of the benchmark and no backend: it can't do it twice, nor undo it.
type perRule struct{ suffix string } // of the variant's programs, such as "-nft"

func (p perRule) apply(ctx context.Context, plan redirect.Plan) error {
	for _, f := range plan.Families {
		program := "iptables" + p.suffix
		if f.Family == redirect.IPv6 {
			program = "ip6tables" + p.suffix
			if err := run(ctx, "ip", "-6", "addr", "add", f.LoopbackAddr.String(), "dev", "lo"); err != nil {
				return err
			}
		}
		for _, c := range f.Chains {
			if err := p.chain(ctx, program, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// chain makes a chain, fills it, and lets the kernel's own chain jump to it.
func (p perRule) chain(ctx context.Context, program string, c redirect.Chain) error {
	hook, own := "PREROUTING", "SHUNT_PER_RULE_IN"
	if c.Direction == redirect.Outbound {
		hook, own = "OUTPUT", "SHUNT_PER_RULE_OUT"
	}
	lines := [][]string{{"-N", own}}
	for _, r := range c.Rules {
		if r.Match.Opened {
			continue // those meshes break connections that were open before
		}
		for _, match := range matches(r.Match, c.Direction) {
			lines = append(lines, append(append([]string{"-A", own, "-p", "tcp"}, match...), target(r)...))
		}
	}
	lines = append(lines, []string{"-A", hook, "-p", "tcp", "-j", own})
	for _, line := range lines {
		if err := run(ctx, program, append([]string{"-w", "-t", "nat"}, line...)...); err != nil {
			return err
		}
	}
	return nil
}

func target(r redirect.Rule) []string {
	if r.Action == redirect.Pass {
		return []string{"-j", "RETURN"}
	}
	return []string{"-j", "REDIRECT", "--to-ports", strconv.Itoa(int(r.Port))}
}

// matches returns the arguments of each line that a match takes: one, or as many
// as its set has entries. It knows what the benchmark's Config needs.
func matches(m redirect.Match, d redirect.Direction) [][]string {
	var args []string
	if m.Interface != "" {
		args = append(args, map[redirect.Direction]string{redirect.Inbound: "-i", redirect.Outbound: "-o"}[d], m.Interface)
	}
	if m.Source.IsValid() {
		args = append(args, "-s", m.Source.String())
	}
	if m.NotDest.IsValid() {
		args = append(args, "!", "-d", m.NotDest.String())
	}
	if m.NotDestPort != 0 {
		args = append(args, "!", "--dport", strconv.Itoa(int(m.NotDestPort)))
	}
	if m.UID != nil {
		args = append(args, "-m", "owner", "--uid-owner", fmt.Sprint(*m.UID))
	}
	if m.GID != nil {
		args = append(args, "-m", "owner", "--gid-owner", fmt.Sprint(*m.GID))
	}
	var out [][]string
	line := func(more ...string) { out = append(out, append(args[:len(args):len(args)], more...)) }
	switch {
	case m.Dest != nil:
		for _, p := range m.Dest.Prefixes {
			line("-d", p.String())
		}
	case m.DestPorts != nil:
		for _, r := range m.DestPorts.Ranges {
			line("--dport", fmt.Sprintf("%d:%d", r.First, r.Last))
		}
	default:
		line()
	}
	return out
}

func run(ctx context.Context, program string, args ...string) error {
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %v: %w: %s", program, args, err, out)
	}
	return nil
}
