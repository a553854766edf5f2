// SPDX-License-Identifier: Apache-2.0

package listen_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/listen"
)

func TestLimit(t *testing.T) {
	defer goleak.VerifyNone(t)
	var hits, served atomic.Int64
	l, err := listen.Open(t.Context(), "127.0.0.1:0", listen.Options{MaxConnections: 2, LimitHit: func() { hits.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end, done := make(chan struct{}), make(chan error)
	go func() {
		done <- l.Run(ctx, func(c *net.TCPConn, release func()) {
			served.Add(1)
			go func() { // a connection outlives its handler
				<-end
				c.Close()
				release()
			}()
		})
	}()
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	waitFor(t, func() bool { return hits.Load() == 1 && served.Load() == 2 })
	close(end) // the one that waited in the backlog comes next
	for _, c := range conns {
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	cancel()
	if err := <-done; err != nil || served.Load() != 3 {
		t.Errorf("Run: %v, served %d", err, served.Load())
	}
}

// TestRunJoins: Run returns after the last connection was released.
func TestRunJoins(t *testing.T) {
	l, err := listen.Open(t.Context(), "127.0.0.1:0", listen.Options{MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Bool
	done := make(chan error)
	go func() {
		done <- l.Run(ctx, func(c *net.TCPConn, release func()) {
			go func() {
				<-ctx.Done()
				time.Sleep(20 * time.Millisecond)
				c.Close()
				ended.Store(true)
				release()
			}()
		})
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(10 * time.Millisecond)
	cancel()
	if err := <-done; err != nil || !ended.Load() {
		t.Errorf("Run: %v, handler ended %t", err, ended.Load())
	}
}

func TestBrokenListenerIsAnError(t *testing.T) {
	l, err := listen.Open(t.Context(), "127.0.0.1:0", listen.Options{MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := l.Run(t.Context(), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := listen.Open(t.Context(), "127.0.0.1:0", listen.Options{}); err == nil || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("no connections: %v", err)
	}
	if _, err := listen.Open(t.Context(), "127.0.0.1:x", listen.Options{MaxConnections: 1}); err == nil {
		t.Error("a bad address is taken")
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not happen")
}
