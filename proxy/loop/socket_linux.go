// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls on sockets: they never block, so the scheduler need not know
// of them. Errors are plain errnos, which cost no allocation. recvfrom and sendto
// go to the socket without what read and write do for any file, which is some 3 %
// of a small request's CPU.

func (d *epoll) read(c *Conn, p []byte) (int, error) {
	return transfer(syscall.SYS_RECVFROM, c.fd, p, 0)
}

func (d *epoll) write(c *Conn, p []byte) (int, error) {
	return transfer(syscall.SYS_SENDTO, c.fd, p, syscall.MSG_NOSIGNAL)
}

func transfer(call uintptr, fd int32, p []byte, flags uintptr) (int, error) {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
	return 0, nil
}

func (d *epoll) pendingError(c *Conn) error { return socketError(int(c.fd)) }

func (d *epoll) closeWrite(c *Conn) {
	_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // the peer's reset shows elsewhere
}

func (d *epoll) canSplice() bool { return true }

func (d *epoll) splice(c *Conn, p *pipe) (int, error) {
	return splice(int(c.fd), p.w, p.size)
}

func (d *epoll) unsplice(c *Conn, p *pipe) (int, error) {
	return splice(p.r, int(c.fd), p.held)
}

func splice(from, to, n int) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0,
			uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
