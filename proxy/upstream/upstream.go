// SPDX-License-Identifier: Apache-2.0

// Package upstream connects to endpoints, and says in one word why it could
// not. It keeps nothing.
package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/proxy/listen"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// Error is the error of a connection attempt: nothing was sent.
type Error struct {
	Reason reason.Reason
	Err    error
}

func (e *Error) Error() string { return "dial upstream: " + e.Err.Error() }

// Unwrap returns what net said.
func (e *Error) Unwrap() error { return e.Err }

// Dialer connects to endpoints of one direction.
type Dialer struct {
	// Timeout bounds one attempt.
	Timeout time.Duration
	// Source4 and Source6 are bound to before connecting; an invalid address
	// leaves the choice to the kernel.
	Source4, Source6 netip.Addr
	// Done is called with the outcome of every attempt that was not given up.
	Done func(reason.Reason)
}

// Dial connects; its errors are *Error.
func (d *Dialer) Dial(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: d.Timeout, KeepAliveConfig: listen.KeepAlive(), Control: setOptions}
	dialer.SetMultipathTCP(false)
	source := d.Source6
	if addr.Addr().Is4() {
		source = d.Source4
	}
	if source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err == nil {
		d.Done(reason.None)
		return c.(*net.TCPConn), nil
	}
	why := classify(err)
	if ctx.Err() == nil {
		d.Done(why)
	}
	return nil, &Error{Reason: why, Err: err}
}

func classify(err error) reason.Reason {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return reason.SourceMissing
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return reason.NoDescriptors
	case errors.As(err, &timeout) && timeout.Timeout():
		return reason.ConnectTimeout
	default:
		return reason.ConnectRefused
	}
}
