// SPDX-License-Identifier: Apache-2.0

// Package nslock is a lock on the network namespace of the calling thread. It
// keeps two processes from changing the same pod at once, and needs no file
// system: the namespace itself is what is locked. The kernel frees it when its
// holder ends, however it ends: the process, and each program that it gave the
// lock to.
package nslock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/flock"
)

// poll is how often a lock that somebody holds is tried: an apply takes from
// one to some 30 ms.
const poll = 2 * time.Millisecond

// Lock is held until Release, by whoever has the file.
type Lock struct {
	file *os.File
}

// Acquire waits for the lock until ctx ends. It needs CAP_NET_ADMIN.
func Acquire(ctx context.Context) (*Lock, error) {
	file, err := namespace()
	if err != nil {
		return nil, fmt.Errorf("find network namespace: %w", err)
	}
	if err := flock.Wait(ctx, file, poll); err != nil {
		if errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w (another redirect is at work in it)", err)
		}
		return nil, errors.Join(fmt.Errorf("lock network namespace: %w", err), file.Close())
	}
	return &Lock{file}, nil
}

// Release ends our hold.
func (l *Lock) Release() { _ = l.file.Close() }

// File is for programs that act for the holder: one that outlives it by a
// system call, since both were killed, keeps the lock until it is gone.
func (l *Lock) File() *os.File { return l.file }

// namespace opens the namespace by way of a socket in it (SIOCGSKNS of
// linux/sockios.h, Linux 4.10), where /proc may not be mounted.
func namespace() (*os.File, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	fd, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (CAP_NET_ADMIN is needed in the pod's network namespace)", err)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(socket))
	}
	return os.NewFile(uintptr(fd), "network namespace"), unix.Close(socket)
}
