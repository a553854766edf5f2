// SPDX-License-Identifier: Apache-2.0

// Package proxy is the sidecar: it takes the pod's redirected connections and
// balances their requests. This package puts the parts together (listeners,
// the snapshot, detection, HTTP, the TCP relay, drain); the parts are in its
// subpackages. It knows nothing of Kubernetes.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/admin"
	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/footprint"
	"github.com/shuntmesh/shunt/proxy/l7"
	"github.com/shuntmesh/shunt/proxy/listen"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/tcp"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

// engine serves connections that speak HTTP.
type engine interface {
	Serve(conn net.Conn, d attempt.Dispatcher, early *l7.Early)
	Drain(ctx context.Context)
	Shutdown(ctx context.Context) error
}

// The states of a proxy, as shunt_proxy_state shows them.
const (
	serving  = 0
	draining = 1 // clients are told to reconnect; nothing is refused
	stopping = 2 // nothing new is accepted
)

// proxy is one running sidecar.
type proxy struct {
	options Options
	stats   *stats.Stats
	buffers tcp.Buffers
	state   atomic.Int64
	ready   atomic.Bool
	sides   [2]*side
	ports   []uint16 // our own, which nothing is connected to
}

// side is one direction: its listener and what serves it.
type side struct {
	*proxy
	direction stats.Direction
	listener  *listen.Listener
	dialer    upstream.Dialer
	http      engine
	serve     func(accept, work context.Context, c *net.TCPConn, a origdst.Addrs)
}

// Run serves until ctx ends, then lets what is under way come to its end for
// at most DrainTimeout, and returns when all goroutines have ended. It returns
// an error when it can't begin, or a listener breaks.
func Run(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	footprint.Limit(o.GCPercent, o.MemoryLimit)
	p := &proxy{options: o, stats: o.Stats}
	showDiscovery(p.stats, o.Resolver)
	if err := p.open(ctx); err != nil {
		return err
	}
	return p.run(ctx)
}

func (p *proxy) open(ctx context.Context) error {
	o := p.options
	p.sides[0] = p.newSide(stats.Outbound, upstream.Dialer{})
	p.sides[1] = p.newSide(stats.Inbound, upstream.Dialer{Source4: o.InboundSource4, Source6: o.InboundSource6})
	p.sides[0].serve, p.sides[1].serve = p.sides[0].serveOutbound, p.sides[1].serveInbound
	p.ports = []uint16{contract.PortAdmin}
	for i, address := range []string{o.OutboundListen, o.InboundListen} {
		l, err := listen.Open(ctx, address, p.sides[i].listenOptions())
		if err != nil {
			if i > 0 {
				_ = p.sides[0].listener.Close()
			}
			return err
		}
		p.sides[i].listener = l
		p.ports = append(p.ports, uint16(l.Addr().(*net.TCPAddr).Port))
	}
	return nil
}

func (p *proxy) newSide(d stats.Direction, dialer upstream.Dialer) *side {
	s := &side{proxy: p, direction: d, dialer: dialer}
	s.dialer.Timeout = p.options.ConnectTimeout
	s.dialer.Done = s.dialed
	s.http = l7.NewServer(l7.Options{
		Direction:      d,
		Stats:          p.stats,
		Log:            p.options.Log,
		Dial:           func(ctx context.Context, ap netip.AddrPort) (net.Conn, error) { return s.dialer.Dial(ctx, ap) },
		MaxStreams:     p.options.MaxStreams,
		MaxHeaderBytes: p.options.MaxHeaderBytes,
		HeaderTimeout:  p.options.HeaderTimeout,
		StripErrors:    d == stats.Inbound,
	})
	return s
}

func (s *side) listenOptions() listen.Options {
	return listen.Options{
		MaxConnections: s.options.MaxConnections,
		LimitHit:       func() { s.stats.LimitHit(s.direction, stats.LimitConnections) },
		AcceptError: func(err error) {
			s.stats.LimitHit(s.direction, stats.LimitDescriptors)
			s.options.Log.Warn("accepting stops for a moment", "direction", s.direction, "error", err)
		},
	}
}

// run has two contexts beside ctx: work is what connections live by, and ends
// DrainTimeout after ctx; admin answers until the end.
func (p *proxy) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	adminCtx, endAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer endAdmin()

	var admins, sides sync.WaitGroup
	admins.Go(func() {
		if err := admin.Run(adminCtx, p.adminOptions()); err != nil {
			cancel(err)
		}
	})
	for _, s := range p.sides {
		sides.Go(func() {
			if err := s.listener.Run(ctx, func(c *net.TCPConn) { s.accept(ctx, work, c) }); err != nil {
				cancel(err)
			}
		})
	}
	p.ready.Store(true)
	p.options.Log.Info("serving", "outbound", p.sides[0].listener.Addr(), "inbound", p.sides[1].listener.Addr())
	if err := footprint.DropInit(); err != nil {
		p.options.Log.Debug("memory of the start is kept", "error", err)
	}
	<-ctx.Done()
	p.stop(work, endWork, &sides)
	endAdmin()
	admins.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("run proxy: %w", cause)
	}
	return nil
}

// stop ends when all connections have, or are cut at the end of the time.
func (p *proxy) stop(work context.Context, endWork context.CancelFunc, sides *sync.WaitGroup) {
	p.setState(stopping)
	p.ready.Store(false)
	limited, cancel := context.WithTimeout(work, p.options.DrainTimeout)
	defer cancel()
	stopCut := context.AfterFunc(limited, endWork)
	defer stopCut()
	var engines sync.WaitGroup
	for _, s := range p.sides {
		engines.Go(func() {
			if err := s.http.Shutdown(limited); err != nil {
				p.options.Log.Warn("requests were cut", "direction", s.direction, "after", p.options.DrainTimeout)
			}
		})
	}
	engines.Wait()
	sides.Wait()
}

func (p *proxy) setState(state int64) {
	if p.state.Load() < state {
		p.state.Store(state)
		p.stats.SetState(int(state))
		p.options.Log.Info("state changed", "state", [...]string{"serving", "draining", "stopping"}[state])
	}
}

// drain begins with the end of the pod: its clients shall move on while the
// application still serves. The pod's readiness stays as it is, since an
// endpoint that turns unready while it terminates counts as not serving.
func (p *proxy) drain(ctx context.Context) {
	p.setState(draining)
	p.sides[1].http.Drain(ctx)
}

func (p *proxy) ownPort(ap netip.AddrPort) bool {
	own := ap.Addr().IsLoopback() || slices.Contains(p.options.PodIPs, ap.Addr())
	return own && slices.Contains(p.ports, ap.Port())
}

func (p *proxy) detectOptions() detect.Options {
	return detect.Options{Partial: p.options.DetectTimeout, Silent: p.options.DetectTimeout}
}
