// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// vip is where clients were going.
var vip = netip.MustParseAddrPort("192.0.2.1:80")

// fixed is a redirection under which every connection had one destination.
type fixed struct{ destination netip.AddrPort }

func (f fixed) Find(c *net.TCPConn) (origdst.Addrs, error) {
	return origdst.Addrs{Source: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Destination: f.destination}, nil
}

// known is discovery that knows one snapshot.
type known struct{ snapshot *xds.Snapshot }

func (k known) Snapshot() *xds.Snapshot { return k.snapshot }

func (k known) Resolve(ctx context.Context, _ netip.AddrPort) (xds.Destination, error) {
	<-ctx.Done()
	return xds.Destination{}, ctx.Err()
}

func serviceAt(endpoint netip.AddrPort) known {
	const cluster = "outbound|80||app.test.svc.cluster.local"
	return known{xds.NewSnapshot(
		map[netip.AddrPort]xds.Destination{vip: {Service: &xds.Service{
			Host: "app.test.svc.cluster.local", Port: 80, Routes: route.ToCluster(cluster),
		}}},
		&xds.Cluster{Name: cluster, Picker: balance.NewP2C([]*balance.Endpoint{balance.NewEndpoint(endpoint)}, nil)})}
}

// start runs a proxy until the end of the test, and returns where it listens.
func start(t *testing.T, change func(*proxy.Options)) (outbound, inbound netip.AddrPort) {
	t.Helper()
	o := proxy.DefaultOptions()
	o.OutboundListen, o.InboundListen = free(t).String(), free(t).String()
	o.AdminListen, o.ReadyListen, o.MetricsListen = free(t).String(), free(t).String(), free(t).String()
	o.AdminSocket = filepath.Join(t.TempDir(), "admin.sock")
	o.PodIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	o.DrainTimeout = time.Second
	o.GCPercent, o.MemoryLimit = 0, 0
	change(&o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proxy.Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for range 500 {
		if c, err := net.Dial("tcp", o.ReadyListen); err == nil {
			c.Close()
			return netip.MustParseAddrPort(o.OutboundListen), netip.MustParseAddrPort(o.InboundListen)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("proxy does not listen")
	return
}

// application answers every request, over HTTP/2 alone: a client that begins with
// something else is relayed to it as TCP, and an application that knew HTTP/1
// too would answer in that.
func application(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An answer before the request is whole would end it, whatever follows.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("the answer of the application\n"))
	})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				if p := (&polite{Conn: c}); p.speaksHTTP2() {
					new(http2.Server).ServeConn(p, &http2.ServeConnOpts{Handler: handler}) //nolint:staticcheck // SA1019: net/http's server answers in HTTP/1 as well
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// polite is a connection that is closed in order when it is not HTTP/2. To close
// it with input unread would reset it, and the proxy passes resets on as such,
// which h2spec takes for something else than an end.
type polite struct {
	net.Conn
	begun []byte
}

func (p *polite) speaksHTTP2() bool {
	begun := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.Conn, begun); err == nil && string(begun) == http2.ClientPreface {
		p.begun = begun
		return true
	}
	p.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = io.Copy(io.Discard, p.Conn)
	p.Close()
	return false
}

func (p *polite) Read(b []byte) (int, error) {
	if len(p.begun) > 0 {
		n := copy(b, p.begun)
		p.begun = p.begun[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
