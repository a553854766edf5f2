// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultDeadline = 5 * time.Second
	DefaultHalfOpen = 1024
)

var (
	// ErrDeadline says that a handshake took longer than Options.Deadline.
	ErrDeadline = errors.New("the peer did not complete it in time")
	// ErrStopped says that Run has ended.
	ErrStopped = errors.New("shutting down")

	errFull = errors.New("too many half-open handshakes")
)

// Options of a Handshaker. The zero value of a number stands for its default.
type Options struct {
	// Server is how connections are accepted; see Certificates.Server.
	Server *tls.Config
	// Computing is how many handshakes may compute at once: one per CPU. One
	// that waits for its peer does not count. A reconnect storm then takes
	// time slices from the workers, not all of the time.
	Computing int
	// HalfOpen is how many handshakes may be under way: 1024. Each has a
	// goroutine and state, 11 to 25 KiB.
	HalfOpen int
	// Deadline is how long a handshake may take, with the time that it waits
	// for others: 5 s.
	Deadline time.Duration
	// Turn has an event loop call f in its next turn, and returns false when it
	// won't. A handshake computes after a turn alone: Go looks for sockets that
	// are ready when no goroutine is, so that many handshakes, one after the other,
	// would keep a loop from its sockets on one CPU. nil is no loop.
	Turn func(f func()) bool
	// Refused is called for each connection beyond HalfOpen; it may be nil.
	Refused func()
}

// Result is what becomes of a handshake: Err, or all of the others.
type Result struct {
	// Conn is the connection, which no longer has a deadline. Nothing that
	// follows the handshake has been read from it.
	Conn *net.TCPConn
	// Pending is what, of the pending bytes that Server was given, follows the
	// handshake: Transport is to open it.
	Pending []byte
	// Transport belongs to the worker that gets it.
	Transport *TLS
	// Protocol is what ALPN chose, "" where the peer knows no ALPN.
	Protocol string
	// Peer is who has been authenticated: nil for a client that showed no
	// certificate, or was not asked.
	Peer *Identity
	// Err names the peer and the cause, among others ErrDeadline and
	// ErrStopped. The connection has been closed.
	Err error
}

// Handshaker runs handshakes, each in a goroutine of its own: crypto/tls can't
// take one up again once a read has failed, so they can't run in an event loop.
// It is safe for concurrent use.
type Handshaker struct {
	options Options
	slots   chan struct{} // one token per handshake that computes
	ctx     context.Context
	stop    context.CancelCauseFunc

	running sync.WaitGroup
	mu      sync.Mutex
	stopped bool
	count   int                       // of goroutines
	cut     map[*net.TCPConn]struct{} // what Run must interrupt
}

// NewHandshaker returns a Handshaker, whose Run must be called.
func NewHandshaker(o Options) *Handshaker {
	if o.Computing <= 0 {
		o.Computing = runtime.GOMAXPROCS(0)
	}
	if o.HalfOpen <= 0 {
		o.HalfOpen = DefaultHalfOpen
	}
	if o.Deadline <= 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Turn == nil {
		o.Turn = func(func()) bool { return false }
	}
	if o.Refused == nil {
		o.Refused = func() {}
	}
	h := &Handshaker{options: o, slots: make(chan struct{}, o.Computing), cut: map[*net.TCPConn]struct{}{}}
	h.ctx, h.stop = context.WithCancelCause(context.Background())
	return h
}

// Run returns when ctx has ended and no handshake is left: those under way are
// cut, and what begins from then on is refused.
func (h *Handshaker) Run(ctx context.Context) error {
	<-ctx.Done()
	h.stop(ErrStopped)
	h.mu.Lock()
	h.stopped = true
	for c := range h.cut {
		_ = c.SetDeadline(time.Unix(1, 0)) // in the past: interrupts what blocks
	}
	h.mu.Unlock()
	h.running.Wait()
	return nil
}

// Server begins a handshake as server. pending was read from c before. c belongs to the Handshaker until done is
// called with it, from the handshake's goroutine: done may block, but the
// handshake counts as half-open until it returns. false means that too many are
// under way, or that Run has ended: c has been closed, done won't be called.
func (h *Handshaker) Server(c *net.TCPConn, pending []byte, done func(Result)) bool {
	return h.begin(c, pending, func(w *wire) *tls.Conn { return tls.Server(w, h.options.Server) }, done)
}

// Client begins a handshake as client, otherwise like Server; see
// Certificates.Client for the config, which names the server.
func (h *Handshaker) Client(c *net.TCPConn, config *tls.Config, done func(Result)) bool {
	return h.begin(c, nil, func(w *wire) *tls.Conn { return tls.Client(w, config) }, done)
}

// HalfOpen is how many handshakes are under way.
func (h *Handshaker) HalfOpen() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

func (h *Handshaker) begin(c *net.TCPConn, pending []byte, over func(*wire) *tls.Conn, done func(Result)) bool {
	deadline := time.Now().Add(h.options.Deadline)
	if err := h.enter(c, deadline); err != nil {
		// No alert: it would take a goroutine to send it behind a ClientHello.
		_ = c.Close()
		if errors.Is(err, errFull) {
			h.options.Refused()
		}
		return false
	}
	go func() {
		defer h.leave(c)
		h.handshake(c, pending, deadline, over, done)
	}()
	return true
}

func (h *Handshaker) enter(c *net.TCPConn, deadline time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return ErrStopped
	case h.count >= h.options.HalfOpen:
		return errFull
	}
	// It fails on a closed connection, where the handshake fails too.
	_ = c.SetDeadline(deadline)
	h.count++
	h.cut[c] = struct{}{}
	h.running.Add(1)
	return nil
}

// release makes c the caller's: Run cuts it no more.
func (h *Handshaker) release(c *net.TCPConn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cut, c)
	return c.SetDeadline(time.Time{})
}

func (h *Handshaker) leave(c *net.TCPConn) {
	h.mu.Lock()
	delete(h.cut, c)
	h.count--
	h.mu.Unlock()
	h.running.Done()
}
