// SPDX-License-Identifier: Apache-2.0

package upstream

import "syscall"

// Socket options that package syscall does not name (linux/in.h, linux/tcp.h).
const (
	bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT
	tcpUserTimeout    = 18 // TCP_USER_TIMEOUT, milliseconds
)

// unackedTimeout ends a connection whose peer has vanished without a word (its
// node died) long before the retransmissions do, after 15 minutes.
const unackedTimeout = 10_000

// setOptions runs before bind. Without the first option each connection from
// the source address takes a port of its own, whatever its destination, and 28
// thousand of them are all there are.
func setOptions(_, _ string, c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		if err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, bindAddressNoPort, 1); err != nil {
			return
		}
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, unackedTimeout)
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}
