// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/process"
)

func start(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStopJoins(t *testing.T) {
	p := start(t, "exec sleep 60")
	if err := p.Alive(); err != nil {
		t.Error(err)
	}
	pid := p.PID()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

// TestEarlyEndIsTold: a proxy that died is no proxy that was measured.
func TestEarlyEndIsTold(t *testing.T) {
	p := start(t, "echo bad configuration >&2; exit 3")
	err := p.Listens(context.Background(), netip.MustParseAddrPort("127.0.0.1:1"))
	if err == nil || !strings.Contains(err.Error(), "bad configuration") {
		t.Errorf("Listens: %v, want what it printed", err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Stop: %v, want the status", err)
	}
}

// TestListensDoesNotConnect: iperf3 would take a connection for a test.
func TestListensDoesNotConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, "exec sleep 60")
	defer p.Stop()
	if err := p.Listens(t.Context(), l.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Error(err)
	}
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := l.Accept(); err == nil {
		t.Errorf("it has connected from %v", c.RemoteAddr())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Listens(ctx, netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		t.Error("somebody listens on port 1")
	}
}

func TestOutput(t *testing.T) {
	sh := process.Spec{Name: "sh", Path: "/bin/sh", Args: []string{"-c", "echo out; echo err >&2"}}
	if out, err := process.Output(t.Context(), time.Minute, sh); err != nil || !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") {
		t.Errorf("Output = %q, %v", out, err)
	}
	sh.Args[1] = "sleep 60"
	begin := time.Now()
	if _, err := process.Output(t.Context(), 50*time.Millisecond, sh); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("a run of 60 s ended after %v with %v", time.Since(begin), err)
	}
}

func TestPortsDiffer(t *testing.T) {
	ports := process.NewPorts()
	all, err := ports.FreeN(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.AddrPort]bool{}
	for _, ap := range all {
		if seen[ap] || ap.Port() >= 32768 || !ap.Addr().IsLoopback() {
			t.Errorf("port %v of %v", ap, all)
		}
		seen[ap] = true
	}
}
