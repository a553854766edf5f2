// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package origdst

import (
	"errors"
	"net"
	"net/netip"
)

func originalDestination(*net.TCPConn, bool) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.ErrUnsupported
}
