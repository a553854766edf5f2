// SPDX-License-Identifier: Apache-2.0

// Package listen opens the proxy's listeners and accepts from them within a
// limit. It knows nothing of what connections carry.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/internal/task"
)

// Options are what a Listener needs beside its address.
type Options struct {
	// MaxConnections is how many connections may be open at once. When it is
	// reached, accepting stops; the backlog of the kernel holds the rest.
	MaxConnections int
	// LimitHit is called each time that it is reached.
	LimitHit func()
	// AcceptError is called for an error of accept that may pass, such as
	// EMFILE, before accepting stops for a moment.
	AcceptError func(error)
}

// Listener accepts TCP connections, and joins their handlers and their ends.
type Listener struct {
	tcp     *net.TCPListener
	options Options
	slots   chan struct{}
}

// Open listens on an address such as ":15006", for IPv4 and IPv6 alike where
// the host is not named. Multipath TCP is off: on an MPTCP socket
// SO_ORIGINAL_DST is not answered.
func Open(ctx context.Context, address string, o Options) (*Listener, error) {
	if o.MaxConnections < 1 {
		return nil, fmt.Errorf("listen on %s: %d connections (at least 1 must be allowed)", address, o.MaxConnections)
	}
	config := net.ListenConfig{KeepAliveConfig: KeepAlive()}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %s: not TCP but %T", address, l)
	}
	return &Listener{tcp: tcp, options: o, slots: make(chan struct{}, o.MaxConnections)}, nil
}

// KeepAlive finds a dead peer in about a minute: 15 s idle, then 3 probes.
func KeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Close stops listening, for a Listener whose Run is not called.
func (l *Listener) Close() error { return l.tcp.Close() }

// Run accepts until ctx ends, hands each connection to handle, which owns it,
// and returns when all handlers have returned and all connections were
// released. A broken listener is an error.
func (l *Listener) Run(ctx context.Context, handle func(c *net.TCPConn, release func())) error {
	stop := context.AfterFunc(ctx, func() { _ = l.tcp.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	pause := time.Duration(0)
	for {
		if !l.acquire(ctx) {
			return nil
		}
		conn, err := l.tcp.AcceptTCP()
		if err != nil {
			<-l.slots
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on %v: %w", l.tcp.Addr(), err)
			}
			l.options.AcceptError(err)
			pause = nextPause(pause)
			task.Sleep(ctx, pause)
			continue
		}
		pause = 0
		open.Add(1)
		release := sync.OnceFunc(func() { <-l.slots; open.Done() })
		open.Go(func() { handle(conn, release) })
	}
}

// acquire takes a slot; false means that ctx ended.
func (l *Listener) acquire(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
		l.options.LimitHit()
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// nextPause doubles from 5 ms to 1 s: an accept that fails for want of
// descriptors fails again at once, and must not spin.
func nextPause(last time.Duration) time.Duration {
	return min(max(2*last, 5*time.Millisecond), time.Second)
}
