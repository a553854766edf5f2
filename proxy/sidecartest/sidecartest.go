// SPDX-License-Identifier: Apache-2.0

// Package sidecartest runs the proxy in tests, as net/http/httptest runs servers:
// on real sockets of the loopback interface, under a redirection that always
// gives one destination, with discovery that knows one snapshot. It is for tests
// alone.
package sidecartest

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy"
)

// Proxy is a running proxy of a test.
type Proxy struct {
	Outbound, Inbound netip.AddrPort // where its listeners are
	Options           proxy.Options  // what it runs with
	end               context.CancelFunc
	ended             func() error // waits for the end of Run
}

// Start runs a proxy on free ports until the end of the test. change completes
// its options; without it everything outbound is passed through.
func Start(t testing.TB, change func(*proxy.Options)) *Proxy {
	t.Helper()
	free := FreeAddrs(t, 5)
	o := proxy.DefaultOptions()
	o.OutboundListen, o.InboundListen = free[0].String(), free[1].String()
	o.AdminListen, o.ReadyListen, o.MetricsListen = free[2].String(), free[3].String(), free[4].String()
	o.AdminSocket = filepath.Join(t.TempDir(), "admin.sock")
	o.PodIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	o.DrainTimeout = 2 * time.Second
	o.GCPercent, o.MemoryLimit = 0, 0 // the test's process is not the proxy's
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proxy.Run(ctx, o) }()
	p := &Proxy{
		Outbound: netip.MustParseAddrPort(o.OutboundListen), Inbound: netip.MustParseAddrPort(o.InboundListen),
		Options: o, end: cancel, ended: sync.OnceValue(func() error { return <-done }),
	}
	t.Cleanup(func() { p.Stop(t) })
	p.wait(t)
	return p
}

func (p *Proxy) wait(t testing.TB) {
	t.Helper()
	for range 500 {
		if c, err := net.Dial("tcp", p.Options.ReadyListen); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("proxy does not listen")
}

// End begins its end, as SIGTERM does.
func (p *Proxy) End() { p.end() }

// Stop ends it, and fails the test when it does not end in order. Every proxy is
// stopped at the end of its test; to stop it again does nothing.
func (p *Proxy) Stop(t testing.TB) {
	t.Helper()
	p.end()
	ended := make(chan error, 1)
	go func() { ended <- p.ended() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run does not return")
	}
}

// Chain runs two proxies before an application: the server's, which serves
// inbound, and before it the client's, which serves outbound. Clients connect to
// out.Outbound. The changes, which may be nil, complete their options.
func Chain(t testing.TB, app netip.AddrPort, changeOut, changeIn func(*proxy.Options)) (out, in *Proxy) {
	t.Helper()
	in = Start(t, func(o *proxy.Options) {
		o.Origin = Origin{app}
		if changeIn != nil {
			changeIn(o)
		}
	})
	out = Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = Origin{VIP()}, ServiceAt(in.Inbound)
		if changeOut != nil {
			changeOut(o)
		}
	})
	return out, in
}
