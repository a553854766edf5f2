// SPDX-License-Identifier: Apache-2.0

//go:build netns

package validate_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/figure"
)

// The validator waits while there is nothing, says so, and ends soon after all
// is there.
func TestWaitsForTheRules(t *testing.T) {
	for _, b := range subjects() {
		for _, uid := range []uint32{application, proxy} {
			_, pod := newPod(t)
			p := start(t, pod, uid, usual("--", "proxy", "run")...)
			for begin := time.Now(); p.stderr.String() == "" && time.Since(begin) < 10*time.Second; {
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(300 * time.Millisecond)
			if said := p.stderr.String(); strings.Count(said, "waiting until this pod is captured") != 1 || !strings.Contains(said, "ipv4 outbound rule") || !strings.Contains(said, "shuntctl node status") {
				t.Errorf("%s, as %d: says %q", b.Name, uid, said)
			}
			apply(t, pod, b, planOf(t, usual()...))
			begin := time.Now()
			code, said := p.wait(t)
			took := time.Since(begin)
			if code != 3 || !strings.Contains(said, `would start ["proxy" "run"]`) {
				t.Errorf("%s, as %d: exit code %d: %s", b.Name, uid, code, said)
			}
			if took > absurd {
				t.Errorf("%s, as %d: ended %v after the rules came", b.Name, uid, took)
			}
		}
	}
}

// absurd bounds what takes 100 ms at most on a machine that does nothing else.
const absurd = time.Second

// TestRepairToPass measures for how long a pod that was repaired in its first
// second is kept waiting after that.
func TestRepairToPass(t *testing.T) {
	const repairs = 11
	b := subjects()[0]
	_, pod := newPod(t)
	for name, uid := range map[string]uint32{"application": application, "proxy": proxy} {
		var took []time.Duration
		for i := range repairs {
			pod.Do(t, func() error { return b.Remove(t.Context()) })
			p := start(t, pod, uid, usual()...)
			time.Sleep(300*time.Millisecond + time.Duration(i)*7*time.Millisecond) // anywhere in a look, or between two
			apply(t, pod, b, planOf(t, usual()...))
			begin := time.Now()
			if code, said := p.wait(t); code != 0 {
				t.Fatalf("as the %s: exit code %d: %s", name, code, said)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		for quantile, d := range map[string]time.Duration{"p50": took[repairs/2], "max": took[repairs-1]} {
			figure.Publish(t, "redirect.validate_repair_to_pass_ms_"+quantile+"."+name, fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)), "ms")
		}
		if took[repairs/2] > absurd {
			t.Errorf("as the %s: %v", name, took)
		}
	}
}

// TestSeesRulesGo right after they were proven again and again, from a handful of
// ports: connection tracking knows them all, but not as they are now.
func TestSeesRulesGo(t *testing.T) {
	for _, b := range subjects() {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			_, pod := newPod(t)
			pod.Sysctl(t, "ipv4/ip_local_port_range", "40000 40003")
			apply(t, pod, b, planOf(t, usual()...))
			owners := []uint32{application, proxy}
			for range 12 {
				for _, uid := range owners {
					if code, said := prove(t, pod, uid, usual("--timeout", "5s")...); code != 0 {
						t.Fatalf("as %d: exit code %d: %s", uid, code, said)
					}
				}
			}
			pod.Do(t, func() error { return b.Remove(t.Context()) })
			for _, uid := range owners {
				if code, said := prove(t, pod, uid, usual("--timeout", "200ms")...); code != 1 {
					t.Errorf("without rules, as %d: exit code %d: %s", uid, code, said)
				}
			}
		})
	}
}

// Whoever waits in vain says for what, at the end and when told to end.
func TestDeadline(t *testing.T) {
	_, pod := newPod(t)
	begin := time.Now()
	code, said := prove(t, pod, application, usual("--timeout", "1s")...)
	if took := time.Since(begin); code != 1 || !strings.Contains(said, "in vain") || took < time.Second || took > 5*time.Second {
		t.Errorf("after %v exit code %d: %s", took, code, said)
	}
	p := start(t, pod, application, usual()...)
	time.Sleep(200 * time.Millisecond)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	code, said = p.wait(t)
	if took := time.Since(begin); code != 3 || !strings.Contains(said, "signal") || took > 2*time.Second {
		t.Errorf("%v after SIGTERM exit code %d: %s", took, code, said)
	}
}
