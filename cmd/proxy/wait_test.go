// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWait: it returns when the proxy is ready, not before, and says why it
// gave up.
func TestWait(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 || r.URL.Path != "/ready" {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	w, _, stderr := newWorld(nil)
	if status := w.main(t.Context(), []string{"wait", "-ready-address", address, "-timeout", "1m"}); status != 0 || asked.Load() != 3 {
		t.Errorf("status %d after %d questions: %s", status, asked.Load(), stderr)
	}
	asked.Store(-1 << 20)
	for args, want := range map[string]string{
		"wait -timeout 120ms -ready-address " + address:  "not ready after 120ms: it answers 503",
		"wait -timeout 120ms -ready-address 127.0.0.1:1": "refused",
		"wait -timeout 0s":   "allowed: more than 0",
		"wait -timeout soon": "soon",
		"drain -linger -1s -admin-socket /nonexistent/admin.sock": "allowed: 0 or more",
	} {
		w, _, stderr := newWorld(nil)
		if status := w.main(t.Context(), strings.Fields(args)); status == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("proxy %s: status %d, %s; want %s", args, status, stderr, want)
		}
	}
}

// TestDrainLingers: the drain has begun when the lingering does.
func TestDrainLingers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var drained atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		drained.Store(time.Now().UnixNano())
	}))
	server.Listener = listener
	server.Start()
	defer server.Close()
	const linger = 150 * time.Millisecond
	w, _, stderr := newWorld(nil)
	status := w.main(t.Context(), []string{"drain", "-admin-socket", socket, "-linger", linger.String()})
	if after := time.Since(time.Unix(0, drained.Load())); status != 0 || after < linger || after > time.Minute {
		t.Errorf("status %d, returned %v after the drain began: %s", status, after, stderr)
	}
}
