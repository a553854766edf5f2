// SPDX-License-Identifier: Apache-2.0

// Package netns calls functions in other network namespaces. What they open
// belongs there, and so do the programs that they start; goroutines that they
// start do not.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// In calls f in the network namespace at path, such as /proc/123/ns/net, and
// returns its error. It needs CAP_SYS_ADMIN. An error of opening the path wraps
// os.ErrNotExist where nothing is there. An empty path is an error too: nobody
// is to act in the caller's namespace because a path was lost.
func In(path string, f func() error) error {
	if path == "" {
		return errors.New("open network namespace: its path is empty")
	}
	return onThread(func() error { return enter(path, f) })
}

// Throwaway calls f in a fresh network namespace, and returns its error. The
// namespace ends with f, unless f let something hold it. It needs CAP_SYS_ADMIN.
func Throwaway(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w (CAP_SYS_ADMIN is needed)", err)
		}
		return f()
	})
}

func enter(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w (CAP_SYS_ADMIN is needed, and a file such as /proc/123/ns/net)", path, err)
	}
	return f()
}

// onThread calls f on a thread of its own, which is never unlocked: the runtime
// throws it away with its goroutine, and the thread's namespace goes with it.
// The main thread can't be thrown away; it would stay in that namespace for ever,
// and /proc/self would tell of it. Whoever gets it holds it until another is done.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- onThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}
