// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// listenTCP runs a server of raw TCP.
func listenTCP(t *testing.T, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return sidecartest.AddrOf(l)
}

func dial(t *testing.T, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// closedAddr is an address at which nothing listens.
func closedAddr(t *testing.T) netip.AddrPort {
	return sidecartest.FreeAddrs(t, 1)[0]
}

func echo(c *net.TCPConn) { io.Copy(struct{ io.Writer }{c}, c); c.CloseWrite() }

// TestServerSpeaksFirst: no wait, whoever the peer is.
func TestServerSpeaksFirst(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("greeting", func(t *testing.T) {
		through := chain(t, listenTCP(t, func(c *net.TCPConn) {
			io.WriteString(c, "220 ready\r\n")
			echo(c)
		}))
		begin := time.Now()
		c := dial(t, through)
		buf := make([]byte, 11)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "220 ready\r\n" {
			t.Fatalf("%q, %v", buf, err)
		}
		if d := time.Since(begin); d > 500*time.Millisecond {
			t.Errorf("greeting after %v", d)
		}
		// It is decided: even HTTP is now relayed as it is.
		io.WriteString(c, "GET / HTTP/1.1\r\n")
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "GET / HTTP/1.1\r\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestClientSpeaksFirst(t *testing.T) {
	through := chain(t, listenTCP(t, echo))
	for name, said := range map[string]string{
		"opaque": "*1\r\n$4\r\nPING\r\n", "TLS": "\x16\x03\x01\x00\x05hello", "long": strings.Repeat("\x01x", 200_000),
		"nothing": "", "preface that breaks off": "PRI * HTTP/2.0\r\n\r\nXX",
	} {
		c := dial(t, through)
		go func() { io.WriteString(c, said); _ = c.CloseWrite() }()
		if got, err := io.ReadAll(c); string(got) != said || err != nil {
			t.Errorf("%s: got %d bytes, %v; want the %d that were sent", name, len(got), err, len(said))
		}
	}
}

// TestPartialRequestIsRelayed: what begins like HTTP and stops is TCP.
func TestPartialRequestIsRelayed(t *testing.T) {
	in := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: listenTCP(t, echo)}
		o.DetectTimeout = 50 * time.Millisecond
	})
	c := dial(t, in.Inbound)
	io.WriteString(c, "GET")
	buf := make([]byte, 3)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "GET" {
		t.Errorf("%q, %v", buf, err)
	}
}

// TestResetIsPassedOn in both directions.
func TestResetIsPassedOn(t *testing.T) {
	seen := make(chan error, 1)
	through := chain(t, listenTCP(t, func(c *net.TCPConn) {
		buf := make([]byte, 1)
		c.Read(buf)
		if buf[0] == '!' {
			_ = c.SetLinger(0)
			return
		}
		c.Write(buf)
		_, err := c.Read(buf)
		seen <- err
	}))
	c := dial(t, through)
	io.WriteString(c, "!")
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client: %v, want a reset", err)
	}
	c = dial(t, through)
	io.WriteString(c, ".")
	c.Read(make([]byte, 1))
	_ = c.SetLinger(0)
	c.Close()
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server: %v, want a reset", err)
	}
}

// TestEndpointIsDead: TCP goes to another endpoint; with none, the client is
// reset.
func TestEndpointIsDead(t *testing.T) {
	hangUp := listenTCP(t, func(*net.TCPConn) {}) // takes and closes
	alive := listenTCP(t, echo)
	for range 4 { // the picker begins anywhere
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(closedAddr(t), alive, hangUp)
		})
		c := dial(t, out.Outbound)
		time.Sleep(20 * time.Millisecond) // all that can fail has
		io.WriteString(c, "\x01")
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "\x01" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(closedAddr(t), closedAddr(t))
	})
	c := dial(t, out.Outbound)
	io.WriteString(c, "\x01")
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("without endpoints: %v, want a reset", err)
	}
}

// slowConn says the first bytes late, one by one.
type slowConn struct {
	net.Conn
	delay, gap time.Duration
	left       int
}

func (c *slowConn) Write(p []byte) (int, error) {
	if c.delay > 0 {
		time.Sleep(c.delay)
		c.delay = 0
	}
	n := 0
	for c.left > 0 && n < len(p) {
		if _, err := c.Conn.Write(p[n : n+1]); err != nil {
			return n, err
		}
		n++
		c.left--
		time.Sleep(c.gap)
	}
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

// TestLatePreface: a grpc-go server sends its SETTINGS long before the preface
// comes; its calls are balanced all the same.
func TestLatePreface(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("calls", func(t *testing.T) {
		const servers, calls = 3, 30
		addrs, counts := countingServers(t, servers)
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(addrs...)
		})
		for _, slow := range []slowConn{{delay: time.Second}, {gap: 5 * time.Millisecond, left: 40}} {
			client := grpcClient(t, func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := net.Dial("tcp", out.Outbound.String())
				slow.Conn = c
				return &slow, err
			})
			for range calls {
				if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range counts {
			if got := counts[i].Load(); got != 2*calls/servers {
				t.Errorf("server %d got %d calls of %d", i, got, 2*calls)
			}
		}
		if body := metricsOf(out); !strings.Contains(body, `shunt_proxy_connections_opened_total{direction="outbound",kind="http2"} 2`) {
			t.Errorf("metrics:\n%s", body)
		}
	})
}

// TestDeadEarlyConnection: a client that turns out to speak HTTP is served,
// whatever became of the connection that was dialled for it.
func TestDeadEarlyConnection(t *testing.T) {
	hangUp := listenTCP(t, func(*net.TCPConn) {})
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	for range 4 {
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(hangUp, closedAddr(t), app)
		})
		c := dial(t, out.Outbound)
		time.Sleep(20 * time.Millisecond)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if got, err := io.ReadAll(c); !strings.HasSuffix(string(got), "\r\n\r\nserved") || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestEarlyConnectionIsUsed: the connection that was dialled to find out what a
// silent client speaks carries its first request. A second client needs no other
// one on HTTP/2, and brings one on HTTP/1.
func TestEarlyConnectionIsUsed(t *testing.T) {
	addrs, _ := countingServers(t, 1)
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, call := range map[string]func(*sidecartest.Proxy) error{
		"http2": func(r *sidecartest.Proxy) error {
			silent := func(ctx context.Context, address string) (net.Conn, error) {
				defer time.Sleep(20 * time.Millisecond)
				return to(r.Inbound)(ctx, address)
			}
			_, err := grpcClient(t, silent).EmptyCall(t.Context(), &testgrpc.Empty{})
			return err
		},
		"http1": func(r *sidecartest.Proxy) error {
			c := dial(t, r.Inbound)
			time.Sleep(20 * time.Millisecond)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			_, err := io.ReadAll(c)
			return err
		},
	} {
		in := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin = sidecartest.Origin{Destination: map[string]netip.AddrPort{"http1": app, "http2": addrs[0]}[name]}
		})
		for i := range 2 {
			if err := call(in); err != nil {
				t.Fatal(err)
			}
			dials := fmt.Sprintf(`shunt_proxy_upstream_dials_total{direction="inbound",result="ok"} %d`, i+1)
			if body := metricsOf(in); !strings.Contains(body, dials) {
				t.Errorf("%s: no %s in\n%s", name, dials, body)
			}
		}
	}
}

// TestClientThatSpeaksBringsNoConnection: requests that are there when a client is
// accepted share the connections that there are.
func TestClientThatSpeaksBringsNoConnection(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	in := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = slow{sidecartest.Origin{Destination: app}}
	})
	for range 3 {
		c := dial(t, in.Inbound)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	}
	if body := metricsOf(in); !strings.Contains(body, `shunt_proxy_upstream_dials_total{direction="inbound",result="ok"} 1`) {
		t.Errorf("more than one connection was dialled:\n%s", body)
	}
}

// slow finds destinations so late that clients have spoken.
type slow struct{ sidecartest.Origin }

func (s slow) Find(c *net.TCPConn) (origdst.Addrs, error) {
	time.Sleep(20 * time.Millisecond)
	return s.Origin.Find(c)
}

func TestSilentClientWithoutUpstream(t *testing.T) {
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(closedAddr(t))
		o.DetectTimeout = 50 * time.Millisecond
	})
	if _, err := io.ReadAll(dial(t, out.Outbound)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	if body := metricsOf(out); !strings.Contains(body, `shunt_proxy_errors_total{direction="outbound",reason="connect-refused"} 1`) {
		t.Errorf("metrics:\n%s", body)
	}
}

func TestPassThrough(t *testing.T) {
	app := listenTCP(t, echo)
	for name, change := range map[string]func(*proxy.Options){
		"no-discovery": func(*proxy.Options) {},
		"unresolved":   func(o *proxy.Options) { o.Resolver, o.ResolveTimeout = sidecartest.ServiceAt(), 10*time.Millisecond },
	} {
		out := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: app}; change(o) })
		c := dial(t, out.Outbound)
		io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		_ = c.CloseWrite()
		if got, _ := io.ReadAll(c); string(got) != "GET / HTTP/1.1\r\n\r\n" {
			t.Errorf("%s: %q", name, got)
		}
		want := `shunt_proxy_passthrough_total{direction="outbound",reason="` + name + `"} 1`
		if body := metricsOf(out); !strings.Contains(body, want) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
}

func TestRefusals(t *testing.T) {
	foreign := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: netip.MustParseAddrPort("192.0.2.9:80")}
	})
	loop := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: netip.MustParseAddrPort(o.InboundListen)}
	})
	direct := sidecartest.Start(t, func(*proxy.Options) {}) // the real origdst: nothing redirects here
	for want, r := range map[string]*sidecartest.Proxy{"not-our-address": foreign, "own-port": loop, "not-redirected": direct} {
		c, err := net.Dial("tcp", r.Inbound.String()) // the reset may be faster
		if err == nil {
			_, err = io.ReadAll(c)
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", want, err)
		}
		if body := metricsOf(r); !strings.Contains(body, `{direction="inbound",reason="`+want+`"} 1`) {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
}

// TestHandedOver serves what arrives with the destination that it had all along,
// inbound alone: what leaves the pod is always rewritten.
func TestHandedOver(t *testing.T) {
	r := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = handed{sidecartest.Origin{Destination: listenTCP(t, echo)}} })
	c, err := net.Dial("tcp", r.Inbound.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 4)
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
		t.Errorf("echo through the inbound port: %q, %v", got, err)
	}
	c, err = net.Dial("tcp", r.Outbound.String()) // the reset may be faster
	if err == nil {
		_, err = io.ReadAll(c)
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("through the outbound port: %v, want a reset", err)
	}
}

// handed is a connection's own address.
type handed struct{ sidecartest.Origin }

func (h handed) Find(c *net.TCPConn) (origdst.Addrs, error) {
	addrs, err := h.Origin.Find(c)
	return addrs, errors.Join(err, origdst.ErrNotRedirected)
}

func metricsOf(r *sidecartest.Proxy) string {
	var b bytes.Buffer
	r.Options.Stats.WritePrometheus(&b)
	ours := slices.DeleteFunc(strings.Split(b.String(), "\n"), func(l string) bool { return !strings.HasPrefix(l, "shunt_") })
	return strings.Join(ours, "\n")
}

func grpcClient(t *testing.T, dialer func(context.Context, string) (net.Conn, error)) testgrpc.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///greeter", grpc.WithContextDialer(dialer),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return testgrpc.NewTestServiceClient(conn)
}
