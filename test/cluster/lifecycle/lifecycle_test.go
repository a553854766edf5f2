// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	for state, want := range map[string]string{
		"relative": "absolute", "/run/x": "its own /run", "/var/log": "its own /var/log", "/var/lib/kubelet/x": "its own",
	} {
		if _, err := New(state, progress.Quiet()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%q): %v, want %q", state, err, want)
		}
	}
	if _, err := New("/var/lib/x", progress.Quiet()); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	socket := fmt.Sprintf("@shunt-cluster-test-%d", os.Getpid())
	unlock, err := lock(socket, "up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(socket, "down")
	if want := fmt.Sprintf("busy with `cluster up`, process %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second lock: %v, want %q", err, want)
	}
	unlock()
	unlock, err = lock(socket, "down")
	if err != nil {
		t.Fatalf("lock again: %v", err)
	}
	unlock()
}

// TestStateDirectory holds that only a directory which the cluster made is filled and emptied.
func TestStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := &Cluster{State: layout.State(dir), Progress: progress.Quiet()}
	s := starting{Cluster: c}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.claim(); err == nil {
		t.Error("a directory with another's files was taken")
	}
	if err := c.removeState(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(precious); err != nil {
		t.Fatalf("another's file was removed: %v", err)
	}
	if err := s.claim(); err != nil {
		t.Fatal(err)
	}
	if err := c.removeState(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state directory is left: %v", err)
	}
}

func TestSummary(t *testing.T) {
	c := &Cluster{State: layout.State(t.TempDir())}
	if _, err := c.Summary(); !errors.Is(err, ErrNotUp) || !strings.Contains(err.Error(), "cluster up") {
		t.Errorf("no cluster: %v, want %v with a hint", err, ErrNotUp)
	}
	want := Summary{Nodes: 2, Bin: "/bin"}
	if err := c.writeSummary(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Summary(); err != nil || got != want {
		t.Errorf("Summary = %v, %v; want %v", got, err, want)
	}
	if _, err := want.node("n3"); !errors.Is(err, errNoNode) || !strings.Contains(err.Error(), "n1, n2") {
		t.Errorf("node n3: %v, want the names that there are", err)
	}
}

func TestEach(t *testing.T) {
	odd := errors.New("odd")
	err := each(t.Context(), []int{1, 2, 3}, func(_ context.Context, i int) error {
		if i%2 == 1 {
			return fmt.Errorf("item %d: %w", i, odd)
		}
		return nil
	})
	if !errors.Is(err, odd) || err.Error() != "item 1: odd\nitem 3: odd" {
		t.Errorf("each = %v, want both errors", err)
	}
}
