// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/tcp"
)

// pair returns the two ends of a connection.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

type relayed struct {
	client, server *net.TCPConn // the far ends
	up, down       atomic.Int64
	done           chan error
}

func relay(t testing.TB, ctx context.Context, idle time.Duration, pendingUp, pendingDown string) *relayed { //nolint:revive // t first, as everywhere
	t.Helper()
	client, nearClient := pair(t)
	nearServer, server := pair(t)
	r := &relayed{client: client, server: server, done: make(chan error, 1)}
	go func() {
		r.done <- tcp.Run(ctx, tcp.End{Conn: nearClient, Pending: []byte(pendingUp)}, tcp.End{Conn: nearServer, Pending: []byte(pendingDown)},
			tcp.Options{
				IdleTimeout: idle, Buffers: &tcp.Buffers{},
				FromClient: func(n int) { r.up.Add(int64(n)) }, ToClient: func(n int) { r.down.Add(int64(n)) },
			})
	}()
	return r
}

// TestHalfClose: one side may end long before the other.
func TestHalfClose(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("relay", func(t *testing.T) {
		r := relay(t, t.Context(), 0, "held ", "greeting ")
		big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
		go func() { r.client.Write(big); r.client.CloseWrite() }()
		got, err := io.ReadAll(r.server)
		if !bytes.Equal(got, append([]byte("held "), big...)) || err != nil {
			t.Errorf("server got %d bytes, %v", len(got), err)
		}
		io.WriteString(r.server, "answer after the end")
		r.server.Close()
		got, err = io.ReadAll(r.client)
		if string(got) != "greeting answer after the end" || err != nil {
			t.Errorf("client got %q, %v", got, err)
		}
		if err := <-r.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if r.up.Load() != int64(len(big)+5) || r.down.Load() != 29 {
			t.Errorf("counted %d and %d bytes", r.up.Load(), r.down.Load())
		}
	})
}

func TestReset(t *testing.T) {
	r := relay(t, t.Context(), 0, "", "")
	_ = r.client.SetLinger(0)
	r.client.Close()
	if _, err := r.server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server: %v, want a reset", err)
	}
	if err := <-r.done; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Run: %v", err)
	}
}

// TestIdle: what moves in one direction keeps both.
func TestIdle(t *testing.T) {
	const idle = 600 * time.Millisecond
	r := relay(t, t.Context(), idle, "", "")
	for range 6 {
		time.Sleep(idle / 4)
		io.WriteString(r.client, "x")
		if _, err := r.server.Read(make([]byte, 1)); err != nil {
			t.Fatalf("cut while it moved: %v", err)
		}
	}
	if err := <-r.done; !errors.Is(err, tcp.ErrIdle) {
		t.Errorf("Run: %v", err)
	}
}

func TestEndOfContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := relay(t, ctx, 0, "", "")
	cancel()
	if err := <-r.done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if _, err := r.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client: %v, want a reset", err)
	}
}

func BenchmarkRelay(b *testing.B) {
	r := relay(b, b.Context(), 0, "", "")
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		r.client.Write(buf)
		io.ReadFull(r.server, buf)
	}
}
