// SPDX-License-Identifier: Apache-2.0

// Package nslock is a lock on the network namespace of the calling thread. It
// keeps two processes from changing the same pod at once, and needs no file
// system: the namespace itself is what is locked. The kernel frees it when its
// holder ends, however it ends.
package nslock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a lock that somebody holds is tried: an apply takes from
// one to some 30 ms.
const poll = 2 * time.Millisecond

// Acquire waits for the lock until ctx ends. It needs CAP_NET_ADMIN.
func Acquire(ctx context.Context) (release func(), err error) {
	fd, err := namespace()
	if err != nil {
		return nil, fmt.Errorf("find network namespace: %w", err)
	}
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock network namespace: %w", err), unix.Close(fd))
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock network namespace: %w (another redirect is at work in it)", ctx.Err()), unix.Close(fd))
		case <-time.After(poll):
		}
	}
}

// namespace opens the namespace by way of a socket in it (SIOCGSKNS of
// linux/sockios.h, Linux 4.10), where /proc may not be mounted.
func namespace() (int, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	fd, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (CAP_NET_ADMIN is needed in the pod's network namespace)", err)
	}
	if errClose := unix.Close(socket); err == nil && errClose != nil {
		return -1, errors.Join(errClose, unix.Close(fd))
	}
	return fd, err
}
