// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// vip is where clients of the tests were going.
var vip = netip.MustParseAddrPort("192.0.2.1:80")

// fixed is a redirection under which every connection had one destination.
type fixed struct{ dst netip.AddrPort }

func (f fixed) Find(c *net.TCPConn) (origdst.Addrs, error) {
	return origdst.Addrs{Source: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Destination: f.dst}, nil
}

// known is discovery that knows one snapshot.
type known struct{ snapshot *xds.Snapshot }

func (k known) Snapshot() *xds.Snapshot { return k.snapshot }

func (k known) Resolve(ctx context.Context, _ netip.AddrPort) (xds.Destination, error) {
	<-ctx.Done()
	return xds.Destination{}, ctx.Err()
}

// serviceAt is a snapshot in which vip is a service with these endpoints.
func serviceAt(endpoints ...netip.AddrPort) known {
	var set []*balance.Endpoint
	for _, ap := range endpoints {
		set = append(set, balance.NewEndpoint(ap))
	}
	const cluster = "outbound|80||greeter.demo.svc.cluster.local"
	svc := &xds.Service{Host: "greeter.demo.svc.cluster.local", Port: 80, Routes: route.ToCluster(cluster)}
	return known{xds.NewSnapshot(
		map[netip.AddrPort]xds.Destination{vip: {Service: svc}},
		&xds.Cluster{Name: cluster, Picker: balance.NewP2C(set, nil)})}
}

// running is a proxy of a test. Its listeners are on free ports.
type running struct {
	outbound, inbound netip.AddrPort
	options           proxy.Options
	cancel            context.CancelFunc
	done              chan error
}

// start runs a proxy and ends it with the test.
func start(t *testing.T, change func(*proxy.Options)) *running {
	t.Helper()
	o := proxy.DefaultOptions()
	o.OutboundListen, o.InboundListen = freeAddr(t), freeAddr(t)
	o.AdminListen, o.ReadyListen, o.MetricsListen = freeAddr(t), freeAddr(t), freeAddr(t)
	o.AdminSocket = filepath.Join(t.TempDir(), "admin.sock")
	o.PodIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	o.DrainTimeout = 2 * time.Second
	o.GCPercent, o.MemoryLimit = 0, 0
	change(&o)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		options: o, cancel: cancel, done: make(chan error, 1),
		outbound: netip.MustParseAddrPort(o.OutboundListen), inbound: netip.MustParseAddrPort(o.InboundListen),
	}
	go func() { r.done <- proxy.Run(ctx, o) }()
	t.Cleanup(func() { r.stop(t) })
	for range 200 {
		if c, err := net.Dial("tcp", o.ReadyListen); err == nil {
			c.Close()
			return r
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("proxy does not listen")
	return nil
}

// stop ends it and fails the test when it does not end in order.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run does not return")
	}
}

// nextPort begins somewhere else in every process, below the ports that the
// kernel gives to connections: nobody else takes one between the look and the
// use.
var nextPort atomic.Uint32

func freeAddr(t *testing.T) string {
	t.Helper()
	nextPort.CompareAndSwap(0, uint32(os.Getpid()*64))
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+nextPort.Add(1)%20_000)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// chain runs an outbound and an inbound proxy in front of an application, and
// returns where clients connect to.
func chain(t *testing.T, app netip.AddrPort) netip.AddrPort {
	t.Helper()
	in := start(t, func(o *proxy.Options) { o.Origin = fixed{app} })
	out := start(t, func(o *proxy.Options) {
		o.Origin = fixed{vip}
		o.Resolver = serviceAt(in.inbound)
	})
	return out.outbound
}

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
