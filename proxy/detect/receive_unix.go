// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detect

import (
	"errors"
	"syscall"
)

// receive reads what is there; the end of the stream is left for others to see.
func receive(fd uintptr, p []byte) (int, error) {
	n, err := syscall.Read(int(fd), p)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return 0, nil
	}
	return n, err
}
