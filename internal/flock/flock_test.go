// SPDX-License-Identifier: Apache-2.0

package flock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/flock"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestWait: a free lock is had even when there is no time to wait, a held one
// isn't, and is as soon as its holder closes the file.
func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, other := open(t, path), open(t, path)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := flock.Wait(over, held, time.Minute); err != nil {
		t.Fatalf("a free lock: %v", err)
	}
	if err := flock.Wait(over, other, time.Minute); !errors.Is(err, context.Canceled) {
		t.Fatalf("a held lock, and no time: %v, want %v", err, context.Canceled)
	}
	got := make(chan error, 1)
	go func() { got <- flock.Wait(t.Context(), other, time.Millisecond) }()
	select {
	case err := <-got:
		t.Fatalf("a held lock: %v before it was free", err)
	case <-time.After(20 * time.Millisecond):
	}
	held.Close()
	if err := <-got; err != nil {
		t.Errorf("a lock that became free: %v", err)
	}
}

// TestClosed: what can't be locked is not tried again.
func TestClosed(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "lock"))
	f.Close()
	if err := flock.Wait(t.Context(), f, time.Millisecond); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, want %v", err, unix.EBADF)
	}
}
