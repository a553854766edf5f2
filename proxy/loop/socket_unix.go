// SPDX-License-Identifier: Apache-2.0

//go:build unix

package loop

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isAgain(err error) bool { return err == syscall.EAGAIN } //nolint:errorlint // drivers return plain errnos

// duplicate returns a second descriptor of tcp. TCPConn.File would make both
// block.
func duplicate(tcp *net.TCPConn) (int, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var dupErr error
	err = raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil {
		return 0, err
	}
	return fd, os.NewSyscallError("fcntl", dupErr)
}

// socketError takes the pending error of a socket.
func socketError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return syscall.Errno(code)
	}
	return nil
}
