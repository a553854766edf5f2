// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// inNamespace calls f in the network namespace at path, or in the caller's
// when path is empty. The thread that entered another namespace is never
// unlocked, so the runtime throws it away with its goroutine.
func inNamespace(path string, f func() error) error {
	if path == "" {
		return f()
	}
	return onThread(func() error { return enter(path, f) })
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
