// SPDX-License-Identifier: Apache-2.0

//go:build netns

package netns_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// here is the calling thread's namespace; of self, the main thread's.
func here(t *testing.T, thread string) string {
	t.Helper()
	name, err := os.Readlink("/proc/" + thread + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestIn(t *testing.T) {
	pod := testnet.New(t)
	path := filepath.Join(t.TempDir(), "pod")
	if err := os.Symlink(pod.Path(), path); err != nil {
		t.Fatal(err)
	}
	var want, got string
	pod.Do(t, func() error { want = here(t, "thread-self"); return nil })
	said := errors.New("said")
	if err := netns.In(path, func() error { got = here(t, "thread-self"); return said }); !errors.Is(err, said) {
		t.Errorf("In returned %v, want what its function did", err)
	}
	if got != want || got == here(t, "thread-self") {
		t.Errorf("called in %s, want %s", got, want)
	}
}

// TestMainThreadStays calls often enough to get every thread there is, the main
// thread among them, which alone can't be thrown away.
func TestMainThreadStays(t *testing.T) {
	before := here(t, "thread-self") // whoever is left behind runs no test
	var calls errgroup.Group
	for range 16 {
		calls.Go(func() error {
			for range 50 {
				if err := netns.Throwaway(func() error { return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := calls.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := here(t, "self"); got != before {
		t.Errorf("the main thread is in %s, want %s", got, before)
	}
}

func TestNoNamespace(t *testing.T) {
	called := func() error { t.Error("called"); return nil }
	if err := netns.In("", called); err == nil {
		t.Error("an empty path is taken")
	}
	if err := netns.In("/nonexistent", called); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing at the path: %v", err)
	}
	if err := netns.In(os.DevNull, called); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no namespace at the path: %v", err)
	}
}
