// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/test/debian"
)

// server is a program that answers GET of filePath with the content of a file,
// and POST with what was posted.
type server struct {
	name      string
	protocols []stats.Kind
	unusual   bool // in how it uses the protocol, not in what
	start     func(t *testing.T, content []byte, secure bool, f transport.Files) netip.AddrPort
}

const filePath = "/file"

func servers(tools map[string]debian.Tool) []server {
	return []server{
		{"net-http", []stats.Kind{stats.HTTP1, stats.HTTP2}, false, startNetHTTP},
		{"nghttpd", []stats.Kind{stats.HTTP2}, false, startNghttpd(tools["nghttpd"])},
		{"nghttpd, padding, trailers, few streams, small windows, no length", []stats.Kind{stats.HTTP2}, true, startNghttpd(tools["nghttpd"],
			"--padding=255", "--trailer=x-end: 1", "--max-concurrent-streams=3", "-w", "12", "-W", "16", "--no-content-length")},
	}
}

func (s server) speaks(protocol stats.Kind) bool { return slices.Contains(s.protocols, protocol) }

func startNetHTTP(t *testing.T, content []byte, secure bool, f transport.Files) netip.AddrPort {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			_, _ = w.Write(content) // a client that goes is its test's matter
			return
		}
		// Whole, and then back: on HTTP/1 an answer that begins ends the request.
		if body, err := io.ReadAll(r.Body); err == nil {
			_, _ = w.Write(body)
		}
	})}
	if secure {
		return serve(t, s, func(l net.Listener) error { return s.ServeTLS(l, f.Certificate, f.Key) })
	}
	return serve(t, s, s.Serve)
}

// startHandler serves HTTP/1.1 and HTTP/2 on one port, in plaintext.
func startHandler(t *testing.T, h http.Handler) netip.AddrPort {
	t.Helper()
	s := &http.Server{Handler: h}
	return serve(t, s, s.Serve)
}

// serve runs a server with all protocols until the end of the test.
func serve(t *testing.T, s *http.Server, on func(net.Listener) error) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error, 1)
	go func() { done <- on(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("net/http: %v", err)
		}
	})
	return sidecartest.AddrOf(l)
}

func startNghttpd(tool debian.Tool, flags ...string) func(*testing.T, []byte, bool, transport.Files) netip.AddrPort {
	return func(t *testing.T, content []byte, secure bool, f transport.Files) netip.AddrPort {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, filepath.Base(filePath), content)
		at := sidecartest.FreeAddrs(t, 1)[0]
		args := append([]string{"--address=127.0.0.1", "--htdocs=" + dir, "--echo-upload"}, flags...)
		if !secure {
			args = append(args, "--no-tls", strconv.Itoa(int(at.Port())))
		} else {
			args = append(args, strconv.Itoa(int(at.Port())), f.Key, f.Certificate)
		}
		cmd := exec.Command(tool.Path, args...)
		cmd.Env = append(os.Environ(), tool.Env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed: the status says nothing
			if t.Failed() {
				t.Logf("nghttpd: %s", said.String())
			}
		})
		waitFor(t, at)
		return at
	}
}

// waitFor waits until somebody accepts connections.
func waitFor(t *testing.T, at netip.AddrPort) {
	t.Helper()
	for range 500 {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %v", at)
}
