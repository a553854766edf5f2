// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/exchange"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/tcp"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

// accepted is a client's connection. Whoever closes it calls release.
type accepted struct {
	conn    *net.TCPConn
	release func()
}

// accept finds out what a connection is and who serves it from then on. ctx
// ends when the proxy stops: what has not begun then need not begin.
func (s *side) accept(ctx context.Context, c accepted) {
	addrs, err := s.options.Origin.Find(c.conn)
	if err != nil && (!errors.Is(err, origdst.ErrNotRedirected) || !s.handedOver(addrs.Destination)) {
		s.refuse(c, reason.NotRedirected, err)
		return
	}
	if s.ownPort(addrs.Destination) {
		s.refuse(c, reason.OwnPort, nil)
		return
	}
	s.serve(ctx, c, addrs)
}

// handedOver reports whether a connection that nobody has rewritten arrived at
// the listener even so: eBPF hands what comes for any port of the pod to the
// inbound one, as it is. Only what was made to the listener's own port was not
// captured.
func (s *side) handedOver(own netip.AddrPort) bool {
	listening, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && s.direction == stats.Inbound && int(own.Port()) != listening.Port
}

// refuse resets a connection that can't be served.
func (s *side) refuse(c accepted, why reason.Reason, err error) {
	s.stats.Error(s.direction, why)
	s.options.Log.Debug("connection refused", "direction", s.direction, "reason", string(why), "from", c.conn.RemoteAddr(), slog.Any("error", err))
	_ = c.conn.SetLinger(0)
	_ = c.conn.Close()
	c.release()
}

func (s *side) dialed(why reason.Reason) {
	s.stats.Dial(s.direction, why)
	switch why {
	case reason.SourceMissing:
		s.options.Log.Error("the pod lacks an address that inbound dials from (was `redirect apply` run in it?)",
			"ipv4", s.options.InboundSource4, "ipv6", s.options.InboundSource6)
	case reason.NoDescriptors:
		s.stats.LimitHit(s.direction, stats.LimitDescriptors)
	case reason.ConnectTimeout:
		s.stats.LimitHit(s.direction, stats.LimitConnect)
	}
}

// balanced serves a connection whose requests d sends to endpoints: HTTP per
// request, everything else whole.
func (s *side) balanced(ctx context.Context, c accepted, dst netip.AddrPort, d attempt.Dispatcher) {
	endsTLS := s.direction == stats.Inbound && s.security != nil && s.security.inbound != nil
	found, err := detect.Run(ctx, c.conn, s.dialFor(d), s.detectOptions(endsTLS))
	if errors.Is(err, detect.ErrSilent) {
		s.refuse(c, found.Reason, err)
		return
	}
	if err != nil {
		_ = c.conn.Close()
		c.release()
		return
	}
	if endsTLS && found.Protocol == sniff.TLS {
		s.endTLS(c, dst, d, found)
		return
	}
	if endsTLS && s.options.TLS.Inbound == TLSStrict {
		if found.Upstream != nil {
			_ = found.Upstream.Close()
		}
		if found.Gone { // a sidecar that dialled early and then needed no connection
			_ = c.conn.Close()
			c.release()
			return
		}
		s.refuse(c, reason.PlaintextRefused, nil)
		return
	}
	switch found.Protocol {
	case sniff.HTTP1, sniff.HTTP2:
		s.serveHTTP(c, dst, d, found, nil)
	default:
		if found.Upstream == nil {
			s.refuse(c, found.Reason, nil)
			return
		}
		found.Endpoint.Acquire()
		s.relay(stats.TCP, c, tcp.End{Conn: c.conn, Pending: found.Client}, tcp.End{Conn: found.Upstream, Pending: found.Server}, found.Endpoint.Release)
	}
}

// dialFor connects to the endpoints that d picks, for a client that has not
// said anything that a route could match on.
func (s *side) dialFor(d attempt.Dispatcher) detect.Dial {
	return func(ctx context.Context, tried []*balance.Endpoint) (*balance.Endpoint, *net.TCPConn, reason.Reason) {
		e, why := d.Pick(route.Request{}, tried, time.Now())
		if e == nil {
			return nil, nil, why
		}
		e.Acquire() // so that clients who come at the same moment spread
		defer e.Release()
		conn, err := s.dialer.Dial(ctx, e.Addr())
		if err == nil {
			e.Reached()
			return e, conn, reason.None
		}
		var failed *upstream.Error
		if errors.As(err, &failed) && ctx.Err() == nil {
			why = failed.Reason
			attempt.Shun(e, why, time.Now())
		}
		return e, nil, why
	}
}

func (s *side) serveHTTP(c accepted, dst netip.AddrPort, d attempt.Dispatcher, found detect.Result, t *transport.TLS) {
	client := exchange.Client{
		Conn:        c.conn,
		Protocol:    found.Protocol,
		Pending:     found.Client,
		Transport:   t,
		Destination: dst,
		Dispatcher:  d,
		Done:        c.release,
	}
	if found.Upstream != nil {
		client.Early = &exchange.Early{Endpoint: found.Endpoint, Conn: found.Upstream, Pending: found.Server}
	}
	s.http.Serve(client)
}

// relay hands two connections to a worker, and calls ended before release.
func (s *side) relay(kind stats.Kind, c accepted, client, server tcp.End, ended func()) {
	counters := s.stats.Conn(s.direction, kind)
	counters.Open()
	release := c.release // done must not hold on to the connection that is handed over
	done := func(err error) {
		counters.Close()
		ended()
		s.relayed(err)
		release()
	}
	w := s.workers[loop.LeastBusy(s.workers)]
	options := tcp.Options{
		IdleTimeout: s.options.IdleTimeout,
		Received:    &counters.Received,
		Sent:        &counters.Sent,
		LimitHit:    func(name string) { s.stats.LimitHit(s.direction, stats.Limit(name)) },
	}
	if !w.Post(func() { tcp.Relay(w, client, server, options, done) }) {
		_ = client.Conn.Close()
		_ = server.Conn.Close()
		done(loop.ErrStopped)
	}
}

// relayed says how a relay ended.
func (s *side) relayed(err error) {
	switch {
	case errors.Is(err, tcp.ErrIdle): // it is counted
	case errors.Is(err, loop.ErrStopped), errors.Is(err, context.Canceled): // by endWork
		s.stats.Error(s.direction, reason.DrainTimeout)
		s.stats.LimitHit(s.direction, stats.LimitDrain)
	case err != nil:
		s.options.Log.Debug("connection reset", "direction", s.direction, "error", err)
	}
}
