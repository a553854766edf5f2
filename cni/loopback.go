// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	loopbackTimeout = time.Second
	loopbackPoll    = 2 * time.Millisecond
	loopbackSettle  = 10 * time.Millisecond
)

// awaitLoopback waits until the loopback interface of the calling thread's
// namespace is up. containerd runs the plugin "loopback" beside the plugins of
// the pod's network, and that one fails where it finds an address that is no
// loopback address, such as the proxy's dial source ::6. It looks just after it
// has set the interface up, so it gets a moment more. A runtime that sets it up
// later still, or never, gets the rules nevertheless: the address survives that.
func awaitLoopback(ctx context.Context) {
	if loopbackIsUp() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loopbackTimeout)
	defer cancel()
	for !loopbackIsUp() {
		select {
		case <-time.After(loopbackPoll):
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(loopbackSettle):
	case <-ctx.Done():
	}
}

// loopbackIsUp asks for one interface; package net would list all of them.
func loopbackIsUp() bool {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return false
	}
	err = unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, lo)
	return err == nil && lo.Uint16()&unix.IFF_UP != 0
}
