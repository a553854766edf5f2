// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nslock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect/internal/nslock"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestOneHolderANamespace: a second one waits, and another namespace is free.
func TestOneHolderANamespace(t *testing.T) {
	here, there := testnet.New(t), testnet.New(t)
	acquire := func(ns *testnet.Namespace) (lock *nslock.Lock, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		ns.Do(t, func() error {
			lock, err = nslock.Acquire(ctx)
			return nil
		})
		return lock, err
	}
	lock, err := acquire(here)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acquire(here); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second holder: %v, want it to wait in vain", err)
	}
	other, err := acquire(there)
	if err != nil {
		t.Errorf("another namespace: %v", err)
	} else {
		other.Release()
	}
	lock.Release()
	again, err := acquire(here)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again.Release()
}

// TestProgramsKeepTheLock that they are given, and no others.
func TestProgramsKeepTheLock(t *testing.T) {
	for _, given := range []bool{true, false} {
		testnet.New(t).Do(t, func() error {
			lock, err := nslock.Acquire(t.Context())
			if err != nil {
				return err
			}
			cmd := exec.Command("sleep", "60")
			if given {
				cmd.ExtraFiles = []*os.File{lock.File()}
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			lock.Release()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			again, err := nslock.Acquire(ctx)
			if err == nil {
				again.Release()
			}
			if (err != nil) != given {
				t.Errorf("a program that was given the lock: %v; acquire behind its holder: %v", given, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				return err
			}
			_ = cmd.Wait() // it was killed
			again, err = nslock.Acquire(t.Context())
			if err == nil {
				again.Release()
			}
			return err
		})
	}
}
