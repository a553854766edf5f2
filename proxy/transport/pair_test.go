// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// newHandshaker starts a Handshaker that the end of the test joins.
func newHandshaker(t testing.TB, o Options) *Handshaker {
	t.Helper()
	h := NewHandshaker(o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return h
}

// sockets returns two ends of a TCP connection.
func sockets(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// serverConfig is that of w with these options.
func (w *world) serverConfig(t testing.TB, o ServerOptions) *tls.Config {
	t.Helper()
	config, err := w.server.Server(o)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// shake runs a handshake between two Handshakers.
func shake(t testing.TB, server, client *tls.Config) (s, c Result) {
	t.Helper()
	h := newHandshaker(t, Options{Server: server})
	a, b := sockets(t)
	results := [2]chan Result{make(chan Result, 1), make(chan Result, 1)}
	if !h.Client(a, client, func(r Result) { results[0] <- r }) || !h.Server(b, nil, func(r Result) { results[1] <- r }) {
		t.Fatal("handshake refused")
	}
	return <-results[1], <-results[0]
}

// must returns r, which has no error.
func (r Result) must(t testing.TB) Result {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// relay is a connection of the tiny loop of these tests: what a worker does for
// one connection, with one goroutine that blocks.
type relay struct {
	conn  *net.TCPConn
	tls   *TLS
	chunk func() int // how much Open gets at once; nil is all
}

// run feeds the core with plaintext and sends what it appends, until the peer
// has ended its direction.
func (r *relay) run(core func(plain, out []byte) []byte) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.conn.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			k := len(p)
			if r.chunk != nil {
				k = min(k, r.chunk())
			}
			if done, err := r.turn(p[:k], core); done || err != nil {
				return err
			}
			p = p[k:]
		}
		if errors.Is(err, io.EOF) {
			return r.tls.End()
		}
		if err != nil {
			return err
		}
	}
}

func (r *relay) turn(p []byte, core func(plain, out []byte) []byte) (done bool, err error) {
	var out []byte
	err = r.tls.Open(p, func(plain []byte) error {
		out = core(plain, out)
		return nil
	})
	if len(out) > 0 || r.tls.Pending() {
		if err := r.send(out); err != nil {
			return true, err
		}
	}
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return err != nil, err
}

func (r *relay) send(plain []byte) error {
	sealed, err := r.tls.Seal(nil, plain)
	if err != nil {
		return err
	}
	_, err = r.conn.Write(sealed)
	return err
}

// finish sends close_notify and a FIN.
func (r *relay) finish() error {
	if _, err := r.conn.Write(r.tls.Close(nil)); err != nil {
		return err
	}
	return r.conn.CloseWrite()
}

// within fails the test when f takes longer than tests should.
func within(t testing.TB, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s takes longer than %v", what, d)
	}
}
