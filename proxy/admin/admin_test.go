// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/admin"
)

// start runs the pages on the socket alone, where a test needs no port.
func start(t *testing.T, o admin.Options) (socket string) {
	t.Helper()
	o.Socket = filepath.Join(t.TempDir(), "admin.sock")
	o.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- admin.Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for range 200 {
		if _, err := os.Stat(o.Socket); err == nil {
			return o.Socket
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no socket")
	return ""
}

func TestPages(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("socket", func(t *testing.T) {
		var drains atomic.Int64
		var ready atomic.Bool
		socket := start(t, admin.Options{
			Metrics: func(w io.Writer) { io.WriteString(w, "metric 1\n") },
			Ready:   ready.Load,
			Drain:   func(context.Context) { drains.Add(1) },
			Config:  func() any { return map[string]int{"state": 0} },
		})
		if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
		}
		for _, tt := range []struct{ method, path, want, err string }{
			{"GET", "/stats", "metric 1\n", ""},
			{"GET", "/config_dump", "{\n  \"state\": 0\n}\n", ""},
			{"GET", "/ready", "", "503"},
			{"GET", "/drain", "", "405"},
			{"POST", "/drain", "draining\n", ""},
			{"GET", "/nothing", "", "404"},
		} {
			var out strings.Builder
			err := admin.Do(t.Context(), socket, tt.method, tt.path, &out)
			if out.String() != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s %s: %q, %v", tt.method, tt.path, out.String(), err)
			}
		}
		ready.Store(true)
		if err := admin.Do(t.Context(), socket, http.MethodGet, "/ready", io.Discard); err != nil || drains.Load() != 1 {
			t.Errorf("ready: %v, drains %d", err, drains.Load())
		}
	})
}

// TestTCPIsReadOnly: the application shares the loopback interface.
func TestTCPIsReadOnly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	start(t, admin.Options{AdminListen: address, Ready: func() bool { return true }, Drain: func(context.Context) { t.Error("drained") }})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST /drain HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), " 404 ") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestErrors(t *testing.T) {
	err := admin.Do(t.Context(), filepath.Join(t.TempDir(), "none"), http.MethodPost, "/drain", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "is `proxy run` running") {
		t.Errorf("no proxy: %v", err)
	}
	err = admin.Run(t.Context(), admin.Options{AdminListen: "127.0.0.1:x", Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "listen for admin") {
		t.Errorf("bad address: %v", err)
	}
}
