// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/redirect/conformance"
)

// older are the ways in which the first version left its rules.
func older() map[string]string {
	const address = "; ip -6 addr add ::6/128 dev lo"
	return map[string]string{
		"the first version's nftables":        "nft -f testdata/older/first.nft" + address,
		"the first version's iptables-nft":    restore("-nft", "older/first") + address,
		"the first version's iptables-legacy": restore("-legacy", "older/first") + address,
	}
}

func restore(variant, name string) string {
	return fmt.Sprintf("iptables%[1]s-restore --noflush testdata/%[2]s.iptables; ip6tables%[1]s-restore --noflush testdata/%[2]s.ip6tables", variant, name)
}

// TestOverOlderVersion runs the command over the rules of an older version, and
// over those of each other backend: they are gone, what is wanted holds, and
// remove leaves nothing of either.
func TestOverOlderVersion(t *testing.T) {
	change := conformance.Changes()[1]
	for _, s := range commanded() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			empty := b.state(t)
			over := func(name string, leave func()) {
				t.Helper()
				leave()
				b.redirect(t, "apply", "--backend", s.name)
				b.redirect(t, "check", "--backend", s.name)
				b.all(t, change.New.CellsWhile(change.While))
				if out := b.redirect(t, "apply", "--backend", s.name); !strings.Contains(out, "no change") {
					t.Errorf("over %s: second apply says %q, want no change", name, out)
				}
				b.redirect(t, "remove")
				if left := b.state(t); left != empty {
					t.Errorf("over %s: remove leaves\n%s\nwant\n%s", name, left, empty)
				}
				if t.Failed() {
					t.Fatalf("over %s", name)
				}
			}
			for name, script := range older() {
				over(name, func() { b.shell(t, script) })
			}
			for _, other := range commanded() {
				if other.name != s.name {
					over(other.name, func() { b.apply(t, other, change.Old.Config) })
				}
			}
		})
	}
}

// commanded are the subjects that the command knows.
func commanded() []subject {
	return slices.DeleteFunc(subjects(), func(s subject) bool {
		return !slices.ContainsFunc(backends.All(), func(b backends.Backend) bool { return b.Name == s.name })
	})
}

// redirect runs the command, with flags for the new side of the change.
func (b *bed) redirect(t *testing.T, verb string, args ...string) string {
	t.Helper()
	if verb != "remove" {
		args = append(args, "-b", "*", "-i", "*", "-d", "8082,8083", "-o", "8082,8083",
			"-x", "192.0.2.0/24,2001:db8::/32", "--exclude-owner-groups", "2002")
	}
	var out bytes.Buffer
	b.pod.Do(t, func() error {
		env := cli.Env{Stdout: &out, Stderr: &out, Backends: backends.All()}
		if code := cli.Run(t.Context(), append([]string{verb}, args...), env); code != cli.ExitOK {
			return fmt.Errorf("redirect %s %q: exit code %d: %s", verb, args, code, &out)
		}
		return nil
	})
	return out.String()
}

// all sends cells and tells of the first few that are not as wanted.
func (b *bed) all(t *testing.T, cells []conformance.Cell) {
	t.Helper()
	wrong := b.sendAll(cells)
	for _, err := range wrong[:min(len(wrong), 5)] {
		t.Errorf("%d of %d cells are wrong, such as %v", len(wrong), len(cells), err)
	}
}

// TestForeignRules lets others' tables and chains be, also those that look much
// like ours.
func TestForeignRules(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.shell(t, "nft -f testdata/foreign.nft; iptables-nft-restore --noflush testdata/foreign.iptables; iptables-legacy-restore --noflush testdata/foreign.iptables")
			before := b.state(t)
			for _, c := range s.changes(t) {
				b.apply(t, s, c.New.Config)
				b.serve(t, c.While)
				b.all(t, c.New.CellsWhile(c.While))
			}
			b.remove(t, s)
			if after := b.state(t); after != before {
				t.Errorf("after remove\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// shell runs a script in the pod, from this package's folder.
func (b *bed) shell(t *testing.T, script string) (out string) {
	t.Helper()
	b.pod.Do(t, func() error {
		raw, err := exec.Command("bash", "-euc", script).CombinedOutput()
		if out = string(raw); err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
		return nil
	})
	return out
}

// state lists all rules of the pod and the addresses of its loopback interface.
// Counters are left out, and so are tables that hold nothing: iptables makes
// them by looking.
func (b *bed) state(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for table := range strings.SplitSeq(b.shell(t, "nft --stateless list ruleset 2>/dev/null"), "\n}\n") {
		if holdsRules(table) {
			out.WriteString(table + "\n}\n")
		}
	}
	// Lines that begin otherwise are comments, counters of the kernel's own
	// chains, and the like.
	out.WriteString(b.shell(t, `
		for tool in iptables-legacy-save ip6tables-legacy-save; do
			for table in nat mangle; do $tool -t $table 2>/dev/null | grep -E '^(-A|:[^ ]+ - )' | sed 's/ *\[.*//' || true; done
		done
		ip -o addr show dev lo | awk '{ print $4 }'`))
	return out.String()
}

// holdsRules reports whether a table, as nft lists it, has more than empty
// chains that are hooked in.
func holdsRules(table string) bool {
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", line == "}", strings.HasPrefix(line, "#"), strings.HasPrefix(line, "table "), strings.HasPrefix(line, "type "):
		case strings.HasPrefix(line, "chain ") && kernelChain(line):
		default:
			return true
		}
	}
	return false
}

// kernelChain reports whether the line begins a chain with a name that
// iptables-nft gives to the kernel's own.
func kernelChain(line string) bool {
	name := strings.Fields(line)[1]
	return strings.ToUpper(name) == name && !strings.Contains(name, "_")
}
