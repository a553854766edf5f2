// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/l7"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/tcp"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

// accept serves one connection until it is closed. accept's first context ends
// when the proxy stops: what has not begun then need not begin.
func (s *side) accept(accepting, work context.Context, c *net.TCPConn) {
	addrs, err := s.options.Origin.Find(c)
	if err != nil {
		s.refuse(c, reason.NotRedirected, err)
		return
	}
	if s.ownPort(addrs.Destination) {
		s.refuse(c, reason.OwnPort, nil)
		return
	}
	s.serve(accepting, work, c, addrs)
}

// refuse resets a connection that can't be served.
func (s *side) refuse(c *net.TCPConn, why reason.Reason, err error) {
	s.stats.Error(s.direction, why)
	s.options.Log.Debug("connection refused", "direction", s.direction, "reason", string(why), "from", c.RemoteAddr(), slog.Any("error", err))
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (s *side) dialed(why reason.Reason) {
	s.stats.Dial(s.direction, why)
	switch why {
	case reason.SourceMissing:
		s.options.Log.Error("the pod lacks an address that inbound dials from (was `redirect apply` run in it?)",
			"ipv4", s.options.InboundSource4, "ipv6", s.options.InboundSource6)
	case reason.NoDescriptors:
		s.stats.LimitHit(s.direction, stats.LimitDescriptors)
	}
}

// balanced serves a connection whose requests d sends to endpoints: HTTP per
// request, everything else whole.
func (s *side) balanced(accepting, work context.Context, c *net.TCPConn, dst netip.AddrPort, d attempt.Dispatcher) {
	found, err := detect.Run(accepting, c, s.dialFor(d), s.detectOptions())
	if errors.Is(err, detect.ErrSilent) {
		s.refuse(c, found.Reason, err)
		return
	}
	if err != nil {
		_ = c.Close()
		return
	}
	switch found.Protocol {
	case sniff.HTTP1:
		s.serveHTTP(stats.HTTP1, c, dst, d, found)
	case sniff.HTTP2:
		s.serveHTTP(stats.HTTP2, c, dst, d, found)
	default:
		if found.Upstream == nil {
			s.refuse(c, found.Reason, nil)
			return
		}
		found.Endpoint.Acquire()
		defer found.Endpoint.Release()
		s.relay(work, stats.TCP, tcp.End{Conn: c, Pending: found.Client}, tcp.End{Conn: found.Upstream, Pending: found.Server})
	}
}

// dialFor connects to the endpoints that d picks, for a client that has not
// said anything that a route could match on.
func (s *side) dialFor(d attempt.Dispatcher) detect.Dial {
	return func(ctx context.Context, tried []*balance.Endpoint) (*balance.Endpoint, *net.TCPConn, reason.Reason) {
		e, why := d.Pick(ctx, route.Request{}, tried)
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

func (s *side) serveHTTP(kind stats.Kind, c *net.TCPConn, dst netip.AddrPort, d attempt.Dispatcher, found detect.Result) {
	counters := s.stats.Conn(s.direction, kind)
	counters.Open()
	defer counters.Close()
	var early *l7.Early
	if found.Upstream != nil {
		early = &l7.Early{Endpoint: found.Endpoint, Conn: &replayed{TCPConn: found.Upstream, pending: found.Server}}
	}
	counters.FromClient(len(found.Client))
	s.http.Serve(&counted{replayed{TCPConn: c, pending: found.Client}, dst, counters}, d, early)
}

func (s *side) relay(work context.Context, kind stats.Kind, client, server tcp.End) {
	counters := s.stats.Conn(s.direction, kind)
	counters.Open()
	defer counters.Close()
	err := tcp.Run(work, client, server, tcp.Options{
		IdleTimeout: s.options.IdleTimeout,
		FromClient:  counters.FromClient,
		ToClient:    counters.ToClient,
		Buffers:     &s.buffers,
	})
	switch {
	case errors.Is(err, tcp.ErrIdle):
		s.stats.LimitHit(s.direction, stats.LimitIdle)
	case work.Err() != nil:
		s.stats.Error(s.direction, reason.DrainTimeout)
	case err != nil:
		s.options.Log.Debug("connection reset", "direction", s.direction, "error", err)
	}
}

// replayed is a connection of which something was read already.
type replayed struct {
	*net.TCPConn
	pending []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		if c.pending = c.pending[n:]; len(c.pending) == 0 {
			c.pending = nil
		}
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// ReadFrom and WriteTo of TCPConn would go around Read.

func (c *replayed) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

// counted is a client's connection as HTTP sees it: its local address is where
// the client was going.
type counted struct {
	replayed
	dst      netip.AddrPort
	counters stats.Conn
}

func (c *counted) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.dst) }

func (c *counted) Read(p []byte) (int, error) {
	fresh := len(c.pending) == 0
	n, err := c.replayed.Read(p)
	if fresh {
		c.counters.FromClient(n)
	}
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.counters.ToClient(n)
	return n, err
}

func (c *counted) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }
