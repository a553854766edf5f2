// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nslock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/nslock"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestOneHolderANamespace: a second one waits, and another namespace is free.
func TestOneHolderANamespace(t *testing.T) {
	here, there := testnet.New(t), testnet.New(t)
	acquire := func(ns *testnet.Namespace) (release func(), err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		ns.Do(t, func() error {
			release, err = nslock.Acquire(ctx)
			return nil
		})
		return release, err
	}
	release, err := acquire(here)
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
		other()
	}
	release()
	again, err := acquire(here)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

// TestReachesNoChild: a program that is started under the lock doesn't keep it.
func TestReachesNoChild(t *testing.T) {
	testnet.New(t).Do(t, func() error {
		before, err := nslock.Acquire(t.Context())
		if err != nil {
			return err
		}
		defer before()
		for fd := range 64 {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			var stat unix.Stat_t
			if err == nil && unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && isNamespace(fd) && flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d of a namespace is inherited", fd)
			}
		}
		return nil
	})
}

func isNamespace(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}
