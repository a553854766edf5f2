// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// open starts a judge that takes dials, and returns where.
func open(t *testing.T) (*Judge, string) {
	t.Helper()
	j := New(time.Now)
	l := listen(t, "127.0.0.1:0")
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := j.Listen(t.Context(), l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return j, l.Addr().String()
}

// relay is a proxy: what it is sent it passes on over a connection of its own.
func relay(t *testing.T, to string) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return l.Addr().String()
}

// dial says a line as a witness does.
func dial(t *testing.T, to, line string) {
	t.Helper()
	conn, err := (&net.Dialer{Control: testimony.Offer}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line == "" {
		return
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(conn).ReadString('\n')
}

// TestDials tells a dial that went through a proxy from one that went past it.
func TestDials(t *testing.T) {
	j, at := open(t)
	proxy := relay(t, at)
	dial(t, proxy, "witness captured life1 0 0")
	dial(t, proxy, "witness captured life1 3 0")
	dial(t, proxy, "witness captured life1 2 0") // was overtaken
	dial(t, proxy, "witness captured life2 4 0")
	dial(t, at, "witness bypass life1 0 2")
	dial(t, proxy, "witness bypass life1 0 2")
	dial(t, at, "whatever")
	dial(t, at, "")
	deadline := time.Now().Add(5 * time.Second)
	for j.Report().Silent == 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	r := j.Report()
	if in, out := r.Pods["captured"].Proxied(); in != 7 || out != 4 {
		t.Errorf("captured: %d calls and %d dials through the proxy, want 7 and 4", in, out)
	}
	if in, out := r.Pods["captured"].Direct(); in != 0 || out != 0 {
		t.Errorf("captured: %d calls and %d dials past the proxy, want none", in, out)
	}
	if in, out := r.Pods["bypass"].Direct(); in != 2 || out != 1 {
		t.Errorf("bypass: %d calls and %d dials past the proxy, want 2 and 1", in, out)
	}
	if _, out := r.Pods["bypass"].Proxied(); out != 1 {
		t.Errorf("bypass: %d dials through the proxy, want 1", out)
	}
	if r.Silent != 1 || r.Unread != 1 || len(r.Pods) != 2 {
		t.Errorf("%d silent, %d unread, %d pods, want 1, 1, 2", r.Silent, r.Unread, len(r.Pods))
	}
}

// TestProbe finds an address when it is given away, is refused until somebody
// listens there, and leaves it when it is taken back.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	free := listen(t, "127.0.0.1:0")
	to := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	j := New(time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var probing sync.WaitGroup
	defer probing.Wait()
	defer cancel()
	probing.Go(func() {
		j.Probe(ctx, HostLocal(func() []string { return []string{dir, filepath.Join(dir, "none")} }), to.Port())
	})
	file := filepath.Join(dir, to.Addr().String())
	for _, name := range []string{file, filepath.Join(dir, "last_reserved_ip.0"), filepath.Join(dir, "lock")} {
		time.Sleep(3 * lookEvery)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * hurryGap)
	l := listen(t, to.String())
	began := time.Now()
	for i := range 3 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if line != "judge\n" || err != nil {
			t.Errorf("the judge said %q, %v", line, err)
		}
		s := testimony.Statement{Pod: "p", Life: "l", Direct: i + 1}
		_, _ = fmt.Fprintln(conn, s)
		_ = conn.Close()
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("three calls took %v", took)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * hurryGap)
	in, out := j.Report().Pods["p"].Direct()
	if in != 3 || out != 0 {
		t.Errorf("%d calls and %d dials past the proxy, want 3 and 0", in, out)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(2 * steadyGap)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one may have been under way
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
			continue
		}
		return
	}
	t.Error("an address that was taken back is called still")
}
