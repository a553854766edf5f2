// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net"
	"time"
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

func loopbackIsUp() bool {
	lo, err := net.InterfaceByName("lo")
	return err == nil && lo.Flags&net.FlagUp != 0
}
