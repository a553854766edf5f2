// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// childEnv makes the test binary a proxy, with few descriptors: the limit is one
// of the process, so the tests need another.
const childEnv = "SHUNT_TEST_FEW_DESCRIPTORS"

// fewDescriptors is how many it has. Some 15 are in use when it is idle.
const fewDescriptors = 64

func TestMain(m *testing.M) {
	if addresses := os.Getenv(childEnv); addresses != "" {
		os.Exit(childProxy(strings.Fields(addresses)))
	}
	os.Exit(m.Run())
}

// childProxy serves an application until SIGTERM. Its arguments are the address
// of that, and those to listen on.
func childProxy(a []string) int {
	o := proxy.DefaultOptions()
	o.Origin = sidecartest.Origin{Destination: netip.MustParseAddrPort(a[0])}
	o.InboundListen, o.OutboundListen, o.AdminListen, o.ReadyListen, o.MetricsListen = a[1], a[2], a[3], a[4], a[5]
	o.AdminSocket = ""
	o.PodIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	o.MaxDescriptors = fewDescriptors
	o.DrainTimeout = time.Second
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := proxy.Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// poor is a proxy in a process of its own.
type poor struct {
	*exec.Cmd
	inbound        netip.AddrPort
	ready, metrics string
}

func startPoor(t *testing.T, app netip.AddrPort) *poor {
	t.Helper()
	listen := []string{app.String()}
	for range 5 {
		listen = append(listen, sidecartest.FreeAddrs(t, 1)[0].String())
	}
	p := &poor{Cmd: exec.Command(os.Args[0]), inbound: netip.MustParseAddrPort(listen[1]), ready: listen[4], metrics: listen[5]}
	var stderr bytes.Buffer
	p.Env, p.Stderr = append(os.Environ(), childEnv+"="+strings.Join(listen, " ")), &stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		if err := p.Wait(); err != nil {
			t.Errorf("proxy ended with %v: %s", err, &stderr)
		}
	})
	for range 500 {
		if c, err := net.Dial("tcp", p.ready); err == nil {
			c.Close()
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("proxy does not listen")
	return nil
}

// cpu is the time that the process has used.
func (p *poor) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Process.Pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): utime and stime are fields 14 and 15
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) is 100 wherever Linux runs
	return time.Duration(user+system) * tick
}

// metric is the sum of the values whose names have all of these parts.
func (p *poor) metric(t *testing.T, parts ...string) int {
	t.Helper()
	res, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return sumOf(string(text), parts...)
}

// TestOutOfDescriptors: accepting stops without spinning, and goes on when there
// are some again.
func TestOutOfDescriptors(t *testing.T) {
	p := startPoor(t, newApp(t, nil))
	var idle []net.Conn
	for range 2 * fewDescriptors { // the backlog has room for those that are not accepted
		idle = append(idle, dialTCP(t, p.inbound))
	}
	time.Sleep(200 * time.Millisecond)
	before := p.cpu(t)
	const starving = 2 * time.Second
	time.Sleep(starving)
	if used := p.cpu(t) - before; used > starving/10 {
		t.Errorf("it used %v of CPU in %v with nothing to do", used, starving)
	}
	for _, c := range idle {
		c.Close()
	}
	client := clientTo(t, p.inbound)
	served := func() bool {
		res, err := client.Get("http://a/")
		return err == nil && res.StatusCode == http.StatusOK
	}
	for begin := time.Now(); !served(); time.Sleep(10 * time.Millisecond) { // it may not have seen yet that they are closed
		if time.Since(begin) > 5*time.Second {
			t.Fatal("afterwards nothing is served")
		}
	}
	if n := p.metric(t, "limit_hits_total", `limit="descriptors"`, `direction="inbound"`); n == 0 {
		t.Error("the limit is not counted")
	}
}

// TestRequestsOutOfDescriptors: a request for which there is no descriptor is
// answered with the reason, or its connection is closed, at once; those under way
// go on.
func TestRequestsOutOfDescriptors(t *testing.T) {
	p := startPoor(t, newApp(t, nil))
	var hanging []*net.TCPConn
	abort := func(c *net.TCPConn) { c.SetLinger(0); c.Close() } // at its end alone a request goes on
	hang := func() string {
		c := dialTCP(t, p.inbound)
		io.WriteString(c, "GET /hang"+head+"\r\n")
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		answer := make([]byte, 4096)
		n, err := c.Read(answer)
		if err != nil && os.IsTimeout(err) {
			hanging = append(hanging, c)
			return ""
		}
		c.Close()
		return "answer: " + string(answer[:n])
	}
	seen := map[bool]bool{} // whether there was an answer with the reason
	for range 2 * fewDescriptors {
		if answer := hang(); answer != "" {
			said := strings.HasPrefix(answer, "answer: HTTP/1.1 503 ") && strings.Contains(answer, "\r\nshunt-error: no-descriptors\r\n")
			if !said && answer != "answer: " {
				t.Fatal(answer)
			}
			if seen[said] = true; len(seen) == 2 {
				break
			}
			// A request takes two. To see what becomes of one when a descriptor
			// more or less is left, another kind of connection takes one.
			abort(hanging[0])
			hanging = hanging[1:]
			holder, err := net.Dial("tcp", p.ready)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { holder.Close() })
			time.Sleep(50 * time.Millisecond)
		}
	}
	if !seen[true] || !seen[false] {
		t.Errorf("answered with the reason: %t; closed: %t", seen[true], seen[false])
	}
	for _, c := range hanging {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !os.IsTimeout(err) {
			t.Errorf("a request that was under way ended: %v", err)
		}
	}
	for _, c := range hanging {
		abort(c)
	}
	time.Sleep(100 * time.Millisecond)
	for _, name := range []string{`limit_hits_total{direction="inbound",limit="descriptors"`, `errors_total{direction="inbound",reason="no-descriptors"`} {
		if n := p.metric(t, name); n == 0 {
			t.Errorf("%s} is not counted", name)
		}
	}
}
