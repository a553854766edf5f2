// SPDX-License-Identifier: Apache-2.0

//go:build unix

package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// reader takes a buffer only when there is something to put into it. With
// Conn.Read every idle direction would hold one.
type reader struct {
	raw     syscall.RawConn
	buffers *Buffers
}

func newReader(c *net.TCPConn, b *Buffers) (*reader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &reader{raw: raw, buffers: b}, nil
}

// read returns a buffer with at least one byte, which the caller gives back,
// or an error: io.EOF at the end of the stream.
func (r *reader) read() (*[bufferSize]byte, int, error) {
	buf := r.buffers.get()
	var n int
	var readErr error
	err := r.raw.Read(func(fd uintptr) bool {
		if buf == nil {
			buf = r.buffers.get()
		}
		n, readErr = ignoringEINTR(int(fd), buf[:])
		if errors.Is(readErr, syscall.EAGAIN) {
			r.buffers.pool.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if err == nil && readErr != nil {
		err = os.NewSyscallError("read", readErr)
	}
	if err == nil && n > 0 {
		return buf, n, nil
	}
	if buf != nil {
		r.buffers.pool.Put(buf)
	}
	if err == nil {
		err = io.EOF
	}
	return nil, 0, err
}

func ignoringEINTR(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
