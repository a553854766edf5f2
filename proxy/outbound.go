// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/tcp"
	"github.com/shuntmesh/shunt/proxy/upstream"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// serveOutbound balances what was going to a service, and relays the rest to
// exactly where it was going: pods, other clusters, the world.
func (s *side) serveOutbound(ctx context.Context, c accepted, a origdst.Addrs) {
	d, passedBecause := s.lookUp(ctx, a.Destination)
	if d.Service != nil {
		s.balanced(ctx, c, a.Destination, newService(s.proxy, a.Destination, d.Service))
		return
	}
	s.stats.PassedThrough(passedBecause)
	conn, err := s.dialer.Dial(ctx, a.Destination)
	if err != nil {
		s.refuse(c, dialReason(err), err)
		return
	}
	s.relay(stats.Passthrough, c, tcp.End{Conn: c.conn}, tcp.End{Conn: conn}, func() {})
}

// lookUp asks the snapshot, and discovery where it must. The second value says
// why a destination without service is one.
func (p *proxy) lookUp(ctx context.Context, ap netip.AddrPort) (xds.Destination, string) {
	if p.options.Resolver == nil {
		return xds.Destination{}, "no-discovery"
	}
	d, known := p.options.Resolver.Snapshot().Destination(ap)
	if known {
		return d, "no-service"
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.ResolveTimeout)
	defer cancel()
	d, err := p.options.Resolver.Resolve(ctx, ap)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.stats.LimitHit(stats.Outbound, stats.LimitResolve)
		}
		p.options.Log.Debug("destination is not resolved", "destination", ap, "error", err)
		return xds.Destination{}, "unresolved"
	}
	return d, "no-service"
}

func dialReason(err error) reason.Reason {
	var failed *upstream.Error
	if errors.As(err, &failed) {
		return failed.Reason
	}
	return reason.UpstreamReset
}

// service dispatches the requests of one connection over the endpoints of a
// service, by the snapshot of the moment.
type service struct {
	*proxy
	dst  netip.AddrPort
	last atomic.Pointer[xds.Service] // for the time in which discovery does not answer
	away atomic.Bool                 // it did not: the next Pick makes do with last
}

func newService(p *proxy, dst netip.AddrPort, svc *xds.Service) *service {
	s := &service{proxy: p, dst: dst}
	s.last.Store(svc)
	return s
}

// Service names it in metrics. It is asked for once a connection.
func (s *service) Service() string {
	svc := s.last.Load()
	return svc.Host + ":" + strconv.Itoa(int(svc.Port))
}

// Pick matches the request against the service's routes and picks from the
// cluster that they name.
func (s *service) Pick(r route.Request, tried []*balance.Endpoint, now time.Time) (*balance.Endpoint, reason.Reason) {
	snapshot := s.options.Resolver.Snapshot()
	d, known := snapshot.Destination(s.dst)
	svc := d.Service
	if !known {
		if !s.away.CompareAndSwap(true, false) {
			return nil, reason.Unresolved
		}
		svc = s.last.Load()
	}
	if svc == nil {
		return nil, reason.NoRoute
	}
	if svc != s.last.Load() {
		s.last.Store(svc)
	}
	to, ok := svc.Routes.Match(r)
	if !ok {
		return nil, reason.NoRoute
	}
	cluster, ok := snapshot.Cluster(to.Cluster)
	if !ok {
		return nil, reason.NoEndpoints
	}
	e, ok := cluster.Picker.Pick(balance.Request{Now: now, Tried: tried})
	if !ok {
		return nil, reason.NoEndpoints
	}
	return e, reason.None
}

// Wait asks discovery once more for a destination that it has forgotten, since
// nobody had used it for a while.
func (s *service) Wait(ready func()) {
	s.resolving.Go(func() {
		if _, why := s.lookUp(s.work, s.dst); why == "unresolved" {
			s.away.Store(true)
		}
		ready()
	})
}
