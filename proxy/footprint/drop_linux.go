// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"fmt"
	"os"
	"syscall"
)

// DropInit gives back the pages of the executable that are mapped by now. Most
// were touched once, by the registration of protocol buffers at start; those
// that are needed come back from the page cache by minor faults.
func DropInit() error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find executable: %w", err)
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("open mappings: %w", err)
	}
	defer func() { _ = smaps.Close() }()
	spans, err := cleanSpans(smaps, path)
	if err != nil {
		return err
	}
	for _, s := range spans {
		_, _, errno := syscall.Syscall(syscall.SYS_MADVISE, s.from, s.to-s.from, syscall.MADV_DONTNEED)
		if errno != 0 {
			return fmt.Errorf("drop pages of executable: %w", errno)
		}
	}
	return nil
}
