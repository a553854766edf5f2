// SPDX-License-Identifier: Apache-2.0

// Package flock waits for locks of flock(2), as long as a context lets it: the
// system call itself waits without end.
package flock

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Wait locks an open file, or whatever else has a descriptor, for its opener
// alone. The lock is free again when the file is closed, or its holder ends. A
// lock that somebody holds is tried again each poll, and once at least; when ctx
// ends first, its error is returned.
func Wait(ctx context.Context, file *os.File, poll time.Duration) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}
