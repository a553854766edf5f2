// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

// errStop is the cause with which tests end their workers.
var errStop = errors.New("the test ends")

// eachDriver runs a test over all drivers that there are.
func eachDriver(t *testing.T, test func(*testing.T, *worker)) {
	drivers := map[string]loop.Driver{"goroutines": loop.Goroutines}
	if runtime.GOOS == "linux" {
		drivers["epoll"] = loop.Epoll
	}
	for name, d := range drivers {
		t.Run(name, func(t *testing.T) { test(t, start(t, loop.Options{Driver: d, CloseTimeout: 300 * time.Millisecond})) })
	}
}

// worker is one that runs until the test ends, and leaves nothing behind.
type worker struct {
	*loop.Worker
	t    testing.TB
	stop context.CancelCauseFunc
	done chan error
}

func start(t testing.TB, o loop.Options) *worker {
	t.Helper()
	lw, err := loop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	w := &worker{Worker: lw, t: t, stop: stop, done: make(chan error, 1)}
	go func() { w.done <- lw.Run(ctx) }()
	t.Cleanup(func() {
		w.end()
		goleak.VerifyNone(t, goleak.IgnoreCurrent())
	})
	return w
}

// end ends Run, and waits for it.
func (w *worker) end() {
	w.stop(errStop)
	if w.done == nil {
		return
	}
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Errorf("Run: %v", err)
		}
	case <-time.After(5 * time.Second):
		w.t.Error("Run does not return")
	}
	w.done = nil
}

// do runs f on the worker, and waits for it.
func (w *worker) do(f func()) {
	w.t.Helper()
	done := make(chan struct{})
	if !w.Post(func() { defer close(done); f() }) {
		w.t.Fatal("Post refuses")
	}
	await(w.t, done)
}

func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not happen")
	}
	return v
}

// core is made of functions; nil ones do nothing.
type core struct {
	conn    *loop.Conn
	receive func(*core, []byte) error
	end     func(*core) error
	drained func(*core)
	closed  chan error
}

func (c *core) Receive(p []byte) error {
	if c.receive == nil {
		return nil
	}
	return c.receive(c, p)
}

func (c *core) End() error {
	if c.end == nil {
		c.conn.Close()
		return nil
	}
	return c.end(c)
}

func (c *core) Drained() {
	if c.drained != nil {
		c.drained(c)
	}
}

func (c *core) Closed(err error) { c.closed <- err } // a second one would block

// adopt makes a connection to a core on the worker, and returns its far end.
func (w *worker) adopt(c *core) *net.TCPConn {
	w.t.Helper()
	near, far := sockettest.Pair(w.t)
	w.take(near, "", nil, c)
	return far
}

func (w *worker) take(near *net.TCPConn, pending string, tr loop.Transport, c *core) {
	w.t.Helper()
	c.closed = make(chan error, 1)
	w.do(func() {
		_, err := w.Adopt(near, []byte(pending), tr, func(conn *loop.Conn) loop.Core { c.conn = conn; return c })
		if err != nil {
			w.t.Error(err)
		}
	})
}

// echo sends back what it gets, and stops reading while the peer does not read.
func echo() *core {
	return &core{
		receive: func(c *core, p []byte) error {
			o := c.conn.Output()
			*o = append(*o, p...)
			c.conn.Pause(c.conn.Unsent() > loop.DefaultHighWater)
			return nil
		},
		drained: func(c *core) { c.conn.Pause(false) },
	}
}
