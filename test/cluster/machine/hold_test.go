// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// newMachine is a machine whose first process is this test, with two daemons that sleep.
func newMachine(t *testing.T) *first {
	t.Helper()
	state := layout.State(t.TempDir())
	spec := Spec{Name: "n1", State: state, Services: []Service{
		{Name: "a", Args: []string{"/bin/sleep", "60"}}, {Name: "b", Args: []string{"/bin/sleep", "60"}},
	}}
	if err := errors.Join(spec.Write(), os.MkdirAll(filepath.Dir(state.Log("n1", "a")), 0o755), remember(spec, os.Getpid())); err != nil {
		t.Fatal(err)
	}
	f := &first{spec: spec, log: slog.New(slog.DiscardHandler), running: map[int]int{}, due: map[int]time.Time{0: {}, 1: {}}, starts: map[int]int{}}
	t.Cleanup(func() {
		for pid := range f.running {
			p, err := os.FindProcess(pid)
			if err == nil {
				_ = p.Kill()
				_, _ = p.Wait()
			}
		}
	})
	return f
}

// live does what the first process does, until done.
func (f *first) live(ctx context.Context) {
	for ctx.Err() == nil {
		f.killHeld()
		f.startDue("", time.Now())
		f.reap(time.Now())
		time.Sleep(10 * time.Millisecond)
	}
}

// TestHold kills one of two daemons, finds that it stays down for longer than one that crashed would, and releases it.
func TestHold(t *testing.T) {
	f := newMachine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	ended := make(chan struct{})
	go func() { defer close(ended); f.live(ctx) }()
	defer func() { cancel(); <-ended }()
	state := f.spec.State
	expect := func(want string) {
		t.Helper()
		all, err := Services(state, "n1")
		got := []string{}
		for _, s := range all {
			got = append(got, s.String())
		}
		if text := strings.Join(got, ", "); text != want || err != nil {
			t.Errorf("daemons are %q, %v, want %q", text, err, want)
		}
	}
	if err := errors.Join(Release(ctx, state, "n1", "a"), Release(ctx, state, "n1", "b")); err != nil {
		t.Fatalf("release what runs: %v", err)
	}
	expect("a (0), b (0)")
	if err := Hold(ctx, state, "n1", "a"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(restartDelay + 200*time.Millisecond)
	expect("a down, b (0)")
	if err := Release(ctx, state, "n1", "a"); err != nil {
		t.Fatal(err)
	}
	expect("a (1), b (0)")
	if err := Hold(ctx, state, "n1", "c"); err == nil || !strings.Contains(err.Error(), "there are a, b") {
		t.Errorf("hold an unknown daemon: %v, want the known ones named", err)
	}
	cut, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if err := errors.Join(Hold(ctx, state, "n1", "b"), ReleaseAll(state, "n1")); err != nil {
		t.Fatal(err)
	}
	if err := Release(cut, state, "n1", "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("release within 50 ms, which takes a second: %v, want a deadline", err)
	}
}
