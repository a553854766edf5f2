// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// netnsCookie returns the number by which the programs know the calling thread's
// network namespace. No namespace gets the number of another before the next
// boot (SO_NETNS_COOKIE, Linux 5.14).
func netnsCookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		err = fmt.Errorf("%w: the kernel gives network namespaces no number (Linux 5.14 does)", errors.ErrUnsupported)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("ask for the namespace's cookie: %w", err), unix.Close(s))
	}
	return cookie, unix.Close(s)
}

// hostUsers is the inode of the host's user namespace (PROC_USER_INIT_INO of
// linux/proc_ns.h).
const hostUsers = 0xEFFFFFFD

// refuseOtherUsers says where a pod has a user namespace of its own: the
// programs see the host's uids, and would not know the proxy by its own.
func refuseOtherUsers(netns *os.File) error {
	fd, err := unix.IoctlRetInt(int(netns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return fmt.Errorf("ask for the namespace's users: %w", err)
	}
	var s unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &s), unix.Close(fd)); err != nil {
		return fmt.Errorf("ask for the namespace's users: %w", err)
	}
	if s.Ino != hostUsers {
		return fmt.Errorf("%w: eBPF knows the proxy by the host's uids, and this pod has others (hostUsers: false)", errors.ErrUnsupported)
	}
	return nil
}
