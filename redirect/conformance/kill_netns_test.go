// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/nslock"
)

// killsEnv says how often, for each backend, a first apply is killed and, in
// all, one that replaces another; killsDefault is enough for a change of code,
// many more are for `make soak`.
const (
	killsEnv     = "SHUNT_KILLS"
	killsDefault = 20
)

// TestKilledApply kills the process group of an apply at a random moment, while
// connections are opened. What arrives, arrives as under the old Config or the
// new one; check tells which; and the next apply repairs it.
func TestKilledApply(t *testing.T) {
	total := &killTally{}
	want := 0
	t.Run("backends", func(t *testing.T) {
		for _, s := range subjects() {
			t.Run(s.name, func(t *testing.T) {
				changes := s.changes(t)
				for _, c := range changes {
					want += rounds(t, c)
				}
				t.Parallel()
				b := newBed(t)
				for _, c := range changes {
					t.Run(c.Name, func(t *testing.T) { total.add(killRounds(t, b, s, c)) })
				}
			})
		}
	})
	if total.runs != want {
		t.Fatalf("%d applies were killed, want %d", total.runs, want)
	}
	figure.Publish(t, "redirect.kill_tests.runs", total.runs, "runs")
	figure.Publish(t, "redirect.kill_tests.interrupted", total.interrupted, "runs")
	figure.Publish(t, "redirect.kill_tests.probes", total.probes, "connections")
	figure.Publish(t, "redirect.kill_tests.bypass", total.bypass, "connections")
}

type killTally struct {
	mu sync.Mutex
	killRun
}

func (k *killTally) add(other killRun) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.killRun.add(other)
}

// killRun counts what one run, or several, saw: of the runs how many left the
// old behaviour, the new one, or one family with each.
type killRun struct{ runs, interrupted, old, new, mixed, probes, bypass int }

func (k *killRun) add(other killRun) {
	k.runs += other.runs
	k.interrupted += other.interrupted
	k.old += other.old
	k.new += other.new
	k.mixed += other.mixed
	k.probes += other.probes
	k.bypass += other.bypass
}

func killRounds(t *testing.T, b *bed, s subject, c conformance.Change) killRun {
	b.serve(t, c.While)
	prepare := func() {
		b.remove(t, s)
		// Connection tracking that goes with the rules never sees the end of what was
		// open, and would have what comes from the same port later go the same way.
		b.pod.ForgetConnections(t)
		if !c.Old.Off {
			b.apply(t, s, c.Old.Config)
		}
	}
	span := applyTime(t, b.pod, s, prepare, c.New.Config)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; an apply takes %v", seed, span)
	random := rand.New(rand.NewPCG(seed, 0))
	var k killRun
	for range rounds(t, c) {
		prepare()
		// A little longer than an apply takes, since a busy machine takes longer.
		delay := time.Duration(random.Int64N(int64(span) * 5 / 4))
		k.add(killOnce(t, b, s, c, delay))
	}
	t.Logf("%+v", k)
	if k.interrupted < k.runs/10 {
		t.Errorf("%d of %d applies were done before they were killed: the test shows nothing", k.runs-k.interrupted, k.runs)
	}
	return k
}

func kills(t *testing.T) int {
	text := os.Getenv(killsEnv)
	if text == "" {
		return killsDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want how often each apply is killed, from 1", killsEnv, text)
	}
	return n
}

// rounds is how often a change is tried.
func rounds(t *testing.T, c conformance.Change) int {
	replacing := len(conformance.Changes()) - 1
	if c.Old.Off {
		return kills(t)
	}
	return (kills(t) + replacing - 1) / replacing
}

func killOnce(t *testing.T, b *bed, s subject, c conformance.Change, delay time.Duration) killRun {
	t.Helper()
	k := killRun{runs: 1}
	a := newApplier(t, b.pod, s, c.New.Config)
	traffic := b.startTraffic(c)
	err := a.start()
	time.Sleep(delay)
	interrupted, killErr := a.kill()
	b.outlive(t)
	if err := errors.Join(err, killErr); err != nil {
		t.Error(err)
	}
	if interrupted {
		k.interrupted++
	}
	during, bypasses := traffic.stop()
	k.probes += during
	after := b.observe(c)
	k.probes += after.probes
	bypasses = append(bypasses, after.bypasses...)
	for _, err := range bypasses {
		t.Errorf("killed after %v: %v", delay, err)
	}
	k.bypass += len(bypasses)
	switch after.probes {
	case after.asNew:
		k.new++
	case after.asOld:
		k.old++
	default:
		k.mixed++
	}
	if err := after.confirm(b.check(t, s, c.New.Config), "new", after.asNew); err != nil {
		t.Errorf("killed after %v: %v", delay, err)
	}
	if err := after.confirm(b.check(t, s, c.Old.Config), "old", after.asOld); err != nil && !c.Old.Off {
		t.Errorf("killed after %v: %v", delay, err)
	}
	b.apply(t, s, c.New.Config)
	if repaired := b.observe(c); repaired.asNew != repaired.probes {
		t.Errorf("killed after %v: the next apply did not repair it: %d of %d connections are as wanted, and not\n%v",
			delay, repaired.asNew, repaired.probes, errors.Join(repaired.notNew...))
	}
	return k
}

// outlive waits for what a killed applier has started: killed too, a program ends
// with the system call that it is in, which may be the one that commits. Each has
// the lock on the namespace until then.
func (b *bed) outlive(t *testing.T) {
	t.Helper()
	b.pod.Do(t, func() error {
		lock, err := nslock.Acquire(t.Context())
		if err == nil {
			lock.Release()
		}
		return err
	})
}

// sight is what a change's probes say of the state of a pod.
type sight struct {
	probes, asOld, asNew int
	notNew               []error // what became of the others
	bypasses             []error
}

// observe sends all probes.
func (b *bed) observe(c conformance.Change) sight {
	probes := c.Probes()
	results := make([]probeResult, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() { results[i] = b.probe(p) })
	}
	wg.Wait()
	s := sight{probes: len(probes)}
	for i, r := range results {
		if r.asOld {
			s.asOld++
		}
		if r.asNew {
			s.asNew++
		} else {
			s.notNew = append(s.notNew, fmt.Errorf("%v: %s, want it %v", probes[i].New, r.got, probes[i].New.Want()))
		}
		if r.bypass != nil {
			s.bypasses = append(s.bypasses, r.bypass)
		}
	}
	return s
}

// confirm holds Check's answer about one side of a change to what packets did.
func (s sight) confirm(checked error, side string, as int) error {
	var different *redirect.Difference
	switch {
	case checked == nil && as != s.probes:
		return fmt.Errorf("check finds the %s rules, but only %d of %d connections are treated so", side, as, s.probes)
	case checked != nil && !errors.As(checked, &different):
		return fmt.Errorf("check for the %s rules names no difference: %w", side, checked)
	}
	return nil
}

type probeResult struct {
	asOld, asNew bool
	got          string
	bypass       error
}

// probe opens one connection. That it is refused, or reset when the rules change
// under its handshake, is allowed: the proxy was not gone around.
func (b *bed) probe(p conformance.Probe) probeResult {
	got, err := b.send(p.New)
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return probeResult{got: err.Error()}
	case err != nil:
		return probeResult{got: err.Error(), bypass: fmt.Errorf("%v: %w", p.New, err)}
	}
	r := probeResult{asOld: got == p.Old.Want(), asNew: got == p.New.Want(), got: fmt.Sprintf("arrived %v", got)}
	if !r.asOld && !r.asNew && got.At != conformance.Refused {
		r.bypass = fmt.Errorf("%v: arrived %v, want it %v or %v", p.New, got, p.Old.Want(), p.New.Want())
	}
	return r
}

// check returns nil where the pod matches a Config.
func (b *bed) check(t *testing.T, s subject, c redirect.Config) (err error) {
	t.Helper()
	p := plan(t, c)
	b.pod.Do(t, func() error {
		err = s.backend.Check(t.Context(), p)
		return nil
	})
	return err
}

func (b *bed) remove(t *testing.T, s subject) {
	t.Helper()
	b.pod.Do(t, func() error { return s.backend.Remove(t.Context()) })
}
