// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// After an alert the peer gets so long, and so many bytes, to read it and close.
// Closing at once over bytes that were not read would make the kernel send a
// reset, and the alert, which says what is wrong, would often be lost.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// attempt is a handshake under way. It holds a slot while it computes.
type attempt struct {
	ctx       context.Context // ends with the deadline, or when the Handshaker stops
	conn      *net.TCPConn    // has the same deadline
	pending   []byte          // was read from conn before
	slots     chan struct{}
	turn      func(func()) bool
	computing bool
}

// handshake runs one from end to end.
func (h *Handshaker) handshake(c *net.TCPConn, pending []byte, deadline time.Time, over func(*wire) *tls.Conn, done func(Result)) {
	ctx, cancel := context.WithDeadlineCause(h.ctx, deadline, ErrDeadline)
	defer cancel()
	a := &attempt{ctx: ctx, conn: c, pending: pending, slots: h.slots, turn: h.options.Turn}
	t := &TLS{}
	t.wire.attempt = a
	t.conn = over(&t.wire)

	err := a.run(t)
	if err == nil {
		err = h.release(c)
	}
	if err != nil {
		done(Result{Err: fmt.Errorf("TLS handshake with %v: %w", c.RemoteAddr(), a.cause(err))})
		a.close(len(t.wire.out) > 0)
		return
	}
	t.wire.attempt = nil
	state := t.conn.ConnectionState()
	done(Result{Conn: c, Pending: a.pending, Transport: t, Protocol: state.NegotiatedProtocol, Peer: identify(state)})
}

// run returns when the handshake is done and its last bytes are in the socket.
// On an error an alert may have been left in the wire.
func (a *attempt) run(t *TLS) error {
	if err := a.take(); err != nil {
		return err
	}
	err := t.conn.Handshake()
	a.give()
	if len(t.wire.out) > 0 {
		_, flushErr := a.conn.Write(t.wire.out)
		if err == nil {
			t.wire.out, err = nil, flushErr
		}
	}
	return err
}

// exchange writes out and then reads into p. The slot is free meanwhile.
func (a *attempt) exchange(out, p []byte) (int, error) {
	a.give()
	if len(out) > 0 {
		if _, err := a.conn.Write(out); err != nil {
			return 0, err
		}
	}
	if len(a.pending) > 0 {
		n := copy(p, a.pending)
		a.pending = a.pending[n:]
		return n, a.take()
	}
	n, err := a.conn.Read(p)
	if err != nil {
		return n, err
	}
	return n, a.take()
}

// take waits for a slot, and then for the loop to have had its turn.
func (a *attempt) take() error {
	select {
	case a.slots <- struct{}{}:
		a.computing = true
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
	turned := make(chan struct{})
	if !a.turn(func() { close(turned) }) {
		return nil
	}
	select {
	case <-turned:
		return nil
	case <-a.ctx.Done():
		a.give()
		return context.Cause(a.ctx)
	}
}

func (a *attempt) give() {
	if a.computing {
		a.computing = false
		<-a.slots
	}
}

// cause says why a deadline of the socket passed: it is how all is cut.
func (a *attempt) cause(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return ErrDeadline // the timer of ctx is a little late
}

// close gives the peer time to read an alert if there was one.
func (a *attempt) close(alert bool) {
	if alert && a.ctx.Err() == nil && a.conn.CloseWrite() == nil {
		if a.conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, a.conn, lingerBytes)
		}
	}
	_ = a.conn.Close()
}
