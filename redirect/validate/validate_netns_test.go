// SPDX-License-Identifier: Apache-2.0

//go:build netns

package validate_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// listing has a rule of every kind that an annotation can ask for.
func listing() []string {
	return usual("-o", "5432,9000-9010", "-x", "10.9.0.0/16,fd09::/32", "-q", "443", "-i", "10.0.0.0/8,fd00::/8", "-c", "net1")
}

// What is applied is proven, whoever looks, by every backend.
func TestProvesWhatIsApplied(t *testing.T) {
	for _, b := range subjects() {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			node, pod := newPod(t)
			testnet.Join(t, node, pod, testnet.Link{Name: "net1", Node: []string{"10.67.0.1/24", "fd67::1/64"}, Pod: []string{"10.67.0.2/24", "fd67::2/64"}})
			for _, args := range [][]string{usual(), listing(), usual("-i", ""), usual("-b", ""), usual("--ipv6", "off"), usual("--drop-invalid")} {
				apply(t, pod, b, planOf(t, args...))
				for _, uid := range []uint32{application, proxy} {
					if code, said := prove(t, pod, uid, append(args, "--timeout", "10s")...); code != 0 || !strings.Contains(said, "as planned") {
						t.Errorf("%q as %d: exit code %d: %s", args[13:], uid, code, said)
					}
				}
			}
		})
	}
}

// TestNamesTheMissingRule takes each rule away that any connection of the pod's
// own can show, and no other. Whoever looks for it names it, or the rule that
// decides in its place.
func TestNamesTheMissingRule(t *testing.T) {
	full := planOf(t, listing()...)
	for _, b := range subjects() {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			shown := 0
			for f, family := range full.Families {
				for c, chain := range family.Chains {
					for i, rule := range chain.Rules {
						// A pod each: connection tracking would treat one from a port that was used before as it did then.
						node, pod := newPod(t)
						testnet.Join(t, node, pod, testnet.Link{Name: "net1", Node: []string{"10.67.0.1/24", "fd67::1/64"}, Pod: []string{"10.67.0.2/24", "fd67::2/64"}})
						apply(t, pod, b, without(full, f, c, i))
						named, said := seen(t, pod, listing())
						if can := visible(chain, rule); named != can {
							t.Errorf("without %v %v rule %d, %v: named %v, want %v: %s", family.Family, chain.Direction, i+1, rule, named, can, said)
						}
						if named {
							shown++
							if !strings.Contains(said, family.Family.String()+" outbound") {
								t.Errorf("without %v rule %d: %s", family.Family, i+1, said)
							}
						}
					}
				}
			}
			if want := 2 * 9; shown != want {
				t.Errorf("%d rules were shown to be missing, want %d", shown, want)
			}
		})
	}
}

// visible tells the rules whose absence a connection of the pod's own shows.
// The others follow from these: a family's rules come and go in one step.
func visible(c redirect.Chain, r redirect.Rule) bool {
	return c.Direction == redirect.Outbound && // what arrives from outside is nothing that the pod can send
		!r.Match.Opened && // it would take a connection from before
		r.Match.GID == nil && // the rule for the uid, which is the same number, decides first
		r.Why != "loopback is never captured" // "over lo" decides first
}

// without is a plan that lacks one rule, and its twin for the proxy's gid, which
// would do the same.
func without(p redirect.Plan, family, chain, rule int) redirect.Plan {
	p.Families = slices.Clone(p.Families)
	p.Families[family].Chains = slices.Clone(p.Families[family].Chains)
	at := &p.Families[family].Chains[chain]
	behind := rule + 1
	if at.Rules[rule].Match.UID != nil {
		behind++
	}
	at.Rules = slices.Delete(slices.Clone(at.Rules), rule, behind)
	return p
}

// seen reports whether either of the two that look says that something is wrong.
func seen(t *testing.T, pod *testnet.Namespace, args []string) (named bool, said string) {
	t.Helper()
	for _, uid := range []uint32{application, proxy} {
		code, text := prove(t, pod, uid, append(args, "--timeout", "600ms")...)
		if code != 0 && code != 1 {
			t.Fatalf("exit code %d: %s", code, text)
		}
		named, said = named || code == 1, said+fmt.Sprintf("as %d: %s", uid, text)
	}
	return named, said
}

// One family may be missing, or have no way out.
func TestFamilies(t *testing.T) {
	b := subjects()[0]
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, pod *testnet.Namespace)
		says    string
	}{
		"no IPv6": {func(t *testing.T, pod *testnet.Namespace) { pod.Sysctl(t, "ipv6/conf/all/disable_ipv6", "1") }, "ipv6: the pod has no address"},
		"no IPv6 route": {func(t *testing.T, pod *testnet.Namespace) {
			ip(t, pod, "-6", "route", "del", "default")
			ip(t, pod, "-6", "addr", "del", testnet.PodV6+"/64", "dev", "eth0")
		}, "ipv6: no route leads out of the pod"},
		"no default route": {func(t *testing.T, pod *testnet.Namespace) { ip(t, pod, "route", "del", "default") }, "as planned"},
	} {
		t.Run(name, func(t *testing.T) {
			_, pod := newPod(t)
			tt.prepare(t, pod)
			for _, uid := range []uint32{application, proxy} {
				if code, said := prove(t, pod, uid, usual("--timeout", "0s")...); code != 1 || strings.Contains(said, "found no address") && name == "no IPv6" {
					t.Errorf("nothing applied, as %d: exit code %d: %s", uid, code, said)
				}
			}
			apply(t, pod, b, planOf(t, usual()...))
			for _, uid := range []uint32{application, proxy} {
				if code, said := prove(t, pod, uid, usual("--timeout", "5s")...); code != 0 || !strings.Contains(said, tt.says) {
					t.Errorf("as %d: exit code %d: %s", uid, code, said)
				}
			}
		})
	}
}

func ip(t *testing.T, ns *testnet.Namespace, args ...string) {
	t.Helper()
	ns.Do(t, func() error {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %q: %w: %s", args, err, out)
		}
		return nil
	})
}

// Somebody else's rules take connections before ours do.
func TestForeignRules(t *testing.T) {
	for rules, says := range map[string]string{
		"tcp dport 9 redirect to :9999":  "found it refused",
		"tcp dport 9 redirect to :15006": "found it captured at 15006",
		"tcp dport 9 drop":               "found no answer",
		"meta skuid 1337 ip daddr 192.0.2.0/24 tcp dport 9 redirect to :15001": "left alone, found it captured at 15001",
		"meta skuid 1337 fib daddr type local ip daddr != 127.0.0.0/8 return ": "",
	} {
		_, pod := newPod(t)
		apply(t, pod, subjects()[0], planOf(t, usual()...))
		pod.Do(t, func() error {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader("table inet other { chain out { type nat hook output priority -110; " + rules + "\n}\n}\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("nft: %w: %s", err, out)
			}
			return nil
		})
		named, said := seen(t, pod, usual())
		if named != (says != "") || !strings.Contains(said, says) {
			t.Errorf("%s: %s", rules, said)
		}
	}
}

// A port of the proxy's that somebody else has is named.
func TestTakenPort(t *testing.T) {
	_, pod := newPod(t)
	pod.Listen(t, "other", "[::]:15001")
	code, said := prove(t, pod, application, usual("--timeout", "1s")...)
	if code != 3 || !strings.Contains(said, "127.0.0.1:15001") || !strings.Contains(said, "another process of the pod") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// Strangers at the proxy's ports, silent or not, change nothing.
func TestStrangers(t *testing.T) {
	_, pod := newPod(t)
	apply(t, pod, subjects()[0], planOf(t, usual()...))
	agent := pod.Agent(t, testnet.Credential{UID: 1000, GID: 1000})
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for token := uint64(1); ; token++ {
			select {
			case <-done:
				return
			default:
				_, _ = agent.Do(testnet.Attempt{Token: token, Dest: destination(token), Patience: 10 * time.Millisecond})
			}
		}
	}()
	for range 10 {
		for _, uid := range []uint32{application, proxy} {
			if code, said := prove(t, pod, uid, usual("--timeout", "5s")...); code != 0 {
				t.Errorf("as %d: exit code %d: %s", uid, code, said)
			}
		}
	}
	close(done)
	<-ended
}

// destination is captured at one of the proxy's ports, or is it.
func destination(n uint64) netip.AddrPort {
	all := []string{"192.0.2.7:80", "[2001:db8::7]:80", "127.0.0.1:15001", "127.0.0.1:15006", "[::1]:15006"}
	return netip.MustParseAddrPort(all[n%uint64(len(all))])
}

// TestTakesLittle measures what stands in every pod's start, with the start of
// the process.
func TestTakesLittle(t *testing.T) {
	_, pod := newPod(t)
	apply(t, pod, subjects()[0], planOf(t, usual()...))
	for name, uid := range map[string]uint32{"application": application, "proxy": proxy} {
		var took []time.Duration
		for range 31 {
			begin := time.Now()
			if code, said := prove(t, pod, uid, usual("--timeout", "5s")...); code != 0 {
				t.Fatalf("exit code %d: %s", code, said)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		median := took[len(took)/2]
		figure.Publish(t, "redirect.validate_ms_p50."+name, fmt.Sprintf("%.1f", float64(median)/float64(time.Millisecond)), "ms")
		if median > 500*time.Millisecond { // 20 ms, on a machine that does nothing else
			t.Errorf("as the %s: %v", name, median)
		}
	}
}
