// SPDX-License-Identifier: Apache-2.0

// Package tcp relays bytes between two connections, truthfully: an end of
// stream is passed on as one, a reset as a reset.
package tcp

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// ErrIdle is the error when nothing was relayed for Options.IdleTimeout.
var ErrIdle = errors.New("connection was idle for too long")

// End is one of the two connections. Pending was read from it already and is
// relayed first.
type End struct {
	Conn    *net.TCPConn
	Pending []byte
}

// Options of one relay.
type Options struct {
	// IdleTimeout ends a pair on which nothing moves in either direction; 0
	// is never. Peers that died are found by keepalive before.
	IdleTimeout time.Duration
	// Received and Sent count the bytes from and to the client.
	Received, Sent *atomic.Uint64
	// LimitHit is called with the name of a limit that was hit.
	LimitHit func(name string)
}

// Names of limits that LimitHit is called with.
const (
	LimitIdle   = "idle-timeout" // Options.IdleTimeout
	LimitUnsent = "unsent-bytes" // the worker's HighWater: reading from the other side stops
)
