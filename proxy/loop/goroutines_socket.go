// SPDX-License-Identifier: Apache-2.0

//go:build unix

package loop

import (
	"syscall"
)

func (d *goroutines) read(c *Conn, p []byte) (int, error) {
	return c.ready.try(c.ready.raw.Control, syscall.Read, p)
}

func (d *goroutines) write(c *Conn, p []byte) (int, error) {
	return c.ready.try(c.ready.raw.Control, syscall.Write, p)
}

// try makes one call that does not block.
func (r *readiness) try(control func(func(uintptr)) error, call func(int, []byte) (int, error), p []byte) (int, error) {
	var n int
	var err error
	closed := control(func(fd uintptr) {
		for {
			n, err = call(int(fd), p)
			if err != syscall.EINTR { //nolint:errorlint // package syscall returns plain errnos
				return
			}
		}
	})
	if closed != nil {
		return 0, closed
	}
	return max(n, 0), err
}

func (d *goroutines) pendingError(c *Conn) error {
	var err error
	if closed := c.ready.raw.Control(func(fd uintptr) { err = socketError(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

func (d *goroutines) closeWrite(c *Conn) { _ = c.ready.tcp.CloseWrite() } // the peer's reset shows elsewhere

func (d *goroutines) close(c *Conn, reset bool) {
	if reset {
		_ = c.ready.tcp.SetLinger(0)
	}
	_ = c.ready.tcp.Close() // ends the goroutines that wait
}

func (d *goroutines) canSplice() bool                    { return false }
func (d *goroutines) splice(*Conn, *pipe) (int, error)   { return 0, syscall.EINVAL }
func (d *goroutines) unsplice(*Conn, *pipe) (int, error) { return 0, syscall.EINVAL }
