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
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/admin"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/exchange"
	"github.com/shuntmesh/shunt/proxy/footprint"
	"github.com/shuntmesh/shunt/proxy/listen"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

// The states of a proxy, as shunt_proxy_state shows them.
const (
	serving  = 0
	draining = 1 // clients are told to reconnect; nothing is refused
	stopping = 2 // nothing new is accepted
)

// proxy is one running sidecar.
type proxy struct {
	options   Options
	stats     *stats.Stats
	workers   []*loop.Worker
	state     atomic.Int64
	ready     atomic.Bool
	sides     [2]*side
	ports     []uint16 // our own, which nothing is connected to
	resolving sync.WaitGroup
	work      context.Context // what resolving lives by
	security  *security       // nil: no TLS
}

// side is one direction: its listener and what serves it.
type side struct {
	*proxy
	direction stats.Direction
	listener  *listen.Listener
	dialer    upstream.Dialer
	http      *exchange.Server
	serve     func(ctx context.Context, c accepted, a origdst.Addrs)
}

// Run serves until ctx ends, then lets what is under way come to its end for
// at most DrainTimeout, and returns when all goroutines have ended. It returns
// an error when it can't begin, or a listener breaks.
func Run(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := footprint.Limit(o.GCPercent, o.MemoryLimit, o.MaxDescriptors); err != nil {
		return err
	}
	p := &proxy{options: o, stats: o.Stats}
	showDiscovery(p.stats, o.Resolver)
	if err := p.open(ctx); err != nil {
		return err
	}
	p.stats.Gauge("loop_max_stall_seconds", p.maxStall) // of the workers that there are now
	p.stats.Gauge("loop_workers_active", p.activeWorkers)
	return p.run(ctx)
}

func (p *proxy) open(ctx context.Context) error {
	o := p.options
	security, err := newSecurity(&p.options, p.turn)
	if err != nil {
		return err
	}
	p.security = security
	for range o.Concurrency {
		w, err := loop.New(loop.Options{CloseTimeout: o.CloseTimeout, HighWater: o.MaxUnsent})
		if err != nil {
			return fmt.Errorf("start worker: %w", err)
		}
		p.workers = append(p.workers, w)
	}
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
	o := &p.options
	eo := exchange.Options{
		Direction:   d,
		Stats:       p.stats,
		Workers:     p.workers,
		Dial:        s.dialer.Dial,
		Limits:      o.Exchange,
		HTTP1:       o.HTTP1,
		HTTP2:       o.HTTP2,
		StripErrors: d == stats.Inbound,
	}
	if d == stats.Outbound && o.TLS.OutboundServerName != "" {
		eo.Secure = s.secure
	}
	s.http = exchange.NewServer(eo)
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
	p.work = work
	adminCtx, endAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer endAdmin()

	var admins, sides, workers sync.WaitGroup
	admins.Go(func() {
		if err := admin.Run(adminCtx, p.adminOptions()); err != nil {
			cancel(err)
		}
	})
	if p.security != nil {
		p.security.run(work, workers.Go)
	}
	workers.Go(func() { footprint.Trim(work, p.turns) })
	for _, w := range p.workers {
		workers.Go(func() {
			if err := w.Run(work); err != nil {
				cancel(err)
			}
		})
	}
	for _, s := range p.sides {
		sides.Go(func() {
			if err := s.listener.Run(ctx, func(c *net.TCPConn, release func()) { s.accept(ctx, accepted{c, release}) }); err != nil {
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
	workers.Wait()
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
				s.stats.LimitHit(s.direction, stats.LimitDrain)
				p.options.Log.Warn("requests were cut", "direction", s.direction, "after", p.options.DrainTimeout)
			}
		})
	}
	engines.Wait()
	sides.Wait()
	endWork()
	p.resolving.Wait()
}

// turns counts what the workers have done.
func (p *proxy) turns() uint64 {
	var n uint64
	for _, w := range p.workers {
		n += w.Turns()
	}
	return n
}

// turn has the least busy worker call f in its next turn; false says that it has
// stopped.
func (p *proxy) turn(f func()) bool { return p.workers[loop.LeastBusy(p.workers)].Post(f) }

// maxStall is the longest turn of a worker since it was last asked for.
func (p *proxy) maxStall() float64 {
	var longest time.Duration
	for _, w := range p.workers {
		longest = max(longest, w.MaxStall())
	}
	return longest.Seconds()
}

// activeWorkers is how many workers have connections.
func (p *proxy) activeWorkers() (n float64) {
	for _, w := range p.workers {
		if w.Conns() > 0 {
			n++
		}
	}
	return n
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
func (p *proxy) drain(context.Context) {
	p.setState(draining)
	p.sides[1].http.Drain()
}

func (p *proxy) ownPort(ap netip.AddrPort) bool {
	own := ap.Addr().IsLoopback() || slices.Contains(p.options.PodIPs, ap.Addr())
	return own && slices.Contains(p.ports, ap.Port())
}

func (s *side) detectOptions(endsTLS bool) detect.Options {
	return detect.Options{
		Partial:  s.options.DetectTimeout,
		Silent:   s.options.DetectTimeout,
		TimedOut: func() { s.stats.LimitHit(s.direction, stats.LimitDetect) },
		EndsTLS:  endsTLS,
	}
}
