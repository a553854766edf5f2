// SPDX-License-Identifier: Apache-2.0

//go:build unix

package footprint

import (
	"fmt"
	"syscall"
)

// limitDescriptors sets the soft limit. The hard one stays: nobody could take it
// back.
func limitDescriptors(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of descriptors: %w", err)
	}
	if n > limit.Max {
		return fmt.Errorf("allow %d descriptors: the process was given %d at most (ulimit -Hn)", n, limit.Max)
	}
	limit.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("allow %d descriptors: %w", n, err)
	}
	return nil
}
