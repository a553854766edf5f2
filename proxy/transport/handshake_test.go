// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRunCutsHandshakes(t *testing.T) {
	w := newWorld(t)
	h := NewHandshaker(Options{Server: w.serverConfig(t, ServerOptions{}), Computing: 1, Deadline: time.Hour, Refused: func() { t.Error("counted as refused") }})
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan Result, 3)
	hello := recordOf(clientHello(t))
	for i := range 3 {
		a, b := sockets(t)
		if _, err := a.Write(hello[:i*50]); err != nil {
			t.Fatal(err)
		}
		h.Server(b, nil, func(r Result) { results <- r })
	}
	cancel()
	within(t, 5*time.Second, "Run", func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for range 3 {
		select {
		case r := <-results:
			if !errors.Is(r.Err, ErrStopped) {
				t.Errorf("ended with %v", r.Err)
			}
		default:
			t.Error("Run returned before done was called")
		}
	}
	_, b := sockets(t)
	if h.Server(b, nil, func(Result) { t.Error("done is called") }) {
		t.Error("a handshake begins after Run")
	}
}

// TestDoneOwnsTheConnection: neither the deadline of the handshake nor the end of
// Run touches a connection that has been handed over.
func TestDoneOwnsTheConnection(t *testing.T) {
	w := newWorld(t)
	const deadline = 200 * time.Millisecond
	h := NewHandshaker(Options{Server: w.serverConfig(t, ServerOptions{}), Deadline: deadline})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	a, b := sockets(t)
	results, hold := make(chan Result, 1), make(chan struct{})
	h.Server(b, nil, func(r Result) {
		results <- r
		<-hold // as a worker's full queue would
	})
	client := tls.Client(a, w.client.Client(ClientOptions{ServerName: serverName}))
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	s := (<-results).must(t)
	if h.HalfOpen() != 1 {
		t.Errorf("%d handshakes are half-open while done blocks", h.HalfOpen())
	}
	cancel()
	time.Sleep(deadline + deadline/2)
	if _, err := io.WriteString(client, "late"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Conn.Read(make([]byte, 1000)); n == 0 || err != nil {
		t.Errorf("Read: %d, %v", n, err)
	}
	close(hold)
	within(t, 5*time.Second, "Run", running.Wait)
}

// TestNotTLS: whoever speaks plaintext to us gets an error that says so.
func TestNotTLS(t *testing.T) {
	w := newWorld(t)
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{})})
	for name, first := range map[string]string{"HTTP/1": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "zeros": string(make([]byte, 100))} {
		t.Run(name, func(t *testing.T) {
			a, b := sockets(t)
			result := make(chan Result, 1)
			h.Server(b, nil, func(r Result) { result <- r })
			if _, err := io.WriteString(a, first); err != nil {
				t.Fatal(err)
			}
			var header tls.RecordHeaderError
			if r := <-result; !errors.As(r.Err, &header) {
				t.Errorf("ended with %v", r.Err)
			}
		})
	}
}

// TestNothingReadTooMuch: what a client sends in one piece with its Finished is
// still in the socket afterwards.
func TestNothingReadTooMuch(t *testing.T) {
	w := newWorld(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{})})
			a, b := sockets(t)
			result := make(chan Result, 1)
			h.Server(b, nil, func(r Result) { result <- r })
			config := w.client.Client(ClientOptions{ServerName: serverName})
			config.MaxVersion = version
			glued := &glue{TCPConn: a, from: 2} // the flight with Finished
			client := tls.Client(glued, config)
			if version == tls.VersionTLS12 {
				glued.from = 1 << 30 // the server has the last word
			}
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			early := strings.Repeat("early", 10_000)
			if _, err := io.WriteString(client, early); err != nil {
				t.Fatal(err)
			}
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := glued.flush(); err != nil {
				t.Fatal(err)
			}
			s := (<-result).must(t)
			if s.Transport.Pending() || s.Transport.wire.frame != (frame{header: s.Transport.wire.frame.header}) {
				t.Errorf("the handshake did not end between records: %+v", s.Transport.wire.frame)
			}
			var got strings.Builder
			r := &relay{conn: s.Conn, tls: s.Transport}
			if err := r.run(func(plain, out []byte) []byte { got.Write(plain); return out }); err != nil || got.String() != early {
				t.Errorf("got %d bytes, %v", got.Len(), err)
			}
		})
	}
}

// glue holds back what is written from the n-th Write on until flush.
type glue struct {
	*net.TCPConn
	from, writes int
	held         []byte
}

func (g *glue) Write(p []byte) (int, error) {
	if g.writes++; g.writes < g.from {
		return g.TCPConn.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

func (g *glue) flush() error {
	held := g.held
	g.held = nil
	if err := g.SetWriteDeadline(time.Time{}); err != nil { // crypto/tls sets one with close_notify
		return err
	}
	_, err := g.TCPConn.Write(held)
	return err
}

// waitFor polls until f holds.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
