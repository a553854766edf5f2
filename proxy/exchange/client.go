// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net/netip"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/h2"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// kind is the protocol of a connection. A request goes on in the protocol that
// it came in.
type kind uint8

const (
	kindHTTP1 kind = iota
	kindHTTP2
)

// clientConn is a client's connection.
type clientConn struct {
	loop.Core
	shard       *shard
	conn        *loop.Conn
	kind        kind
	security    security // nil: plaintext
	dispatcher  attempt.Dispatcher
	destination netip.AddrPort
	first       *balance.Endpoint // picked for this client already, and connected to
	requests    *stats.Requests
	bytes       *stats.Conn
	goAway      func()
	timer       *loop.Timer // HTTP/1: bounds an unfinished head; HTTP/2: the acknowledgement of SETTINGS
	begun       bool        // bytes came between requests: of the next one's head
	stale       bool        // a head was unfinished when the timer last ran
	accepted    bool        // there was a request
	leaving     bool        // goAway is due
	active      int         // exchanges
	done        func()
}

// serve takes a client's connection onto the worker.
func (s *shard) serve(c *Client) {
	cc := &clientConn{shard: s, security: securityOf(c.Transport), dispatcher: c.Dispatcher, destination: c.Destination, done: c.Done}
	protocol := stats.HTTP1
	if c.Protocol == sniff.HTTP2 {
		cc.kind, protocol = kindHTTP2, stats.HTTP2
	}
	cc.requests = s.options.Stats.Requests(s.options.Direction, c.Dispatcher.Service(), protocol)
	cc.bytes = s.options.Stats.Conn(s.options.Direction, protocol)
	cc.bytes.Open()
	s.conns[cc] = struct{}{}
	if e := c.Early; e != nil {
		cc.first = e.Endpoint
		s.pool.group(groupKey{e.Endpoint.Addr(), cc.kind}).join(e.Conn, e.Pending)
	}
	_, err := s.worker.Adopt(c.Conn, c.Pending, s.transport(c.Transport), func(conn *loop.Conn) loop.Core {
		cc.conn = conn
		cc.conn.Count(&cc.bytes.Received, &cc.bytes.Sent)
		cc.Core = cc.newCore()
		return cc
	})
	if err != nil {
		s.notAdopted(err)
		s.options.Stats.Error(s.options.Direction, reason.NoDescriptors)
		cc.Closed(err)
		return
	}
	// A client that speaks HTTP/2 would be back at once, and again, until
	// discovery has told it of another endpoint.
	if s.stopping || s.draining && cc.kind == kindHTTP1 {
		cc.leave()
	}
}

func (c *clientConn) newCore() loop.Core {
	if c.kind == kindHTTP2 {
		o := c.shard.h2Options()
		o.Refused = c.refused
		core := h2.NewServer(c.conn, o, c.accept)
		c.goAway = core.GoAway
		c.timer = &loop.Timer{F: func() { c.checkSettings(core) }}
		c.shard.worker.After(c.timer, c.shard.options.Limits.SettingsTimeout)
		return core
	}
	o := c.shard.h1Options()
	o.Refused = c.refused
	core := h1.NewServer(c.conn, o, c.accept)
	c.goAway = core.GoAway
	c.timer = &loop.Timer{F: c.checkHeader}
	c.shard.worker.After(c.timer, c.shard.options.Limits.HeaderTimeout)
	return core
}

// refused counts a request that no exchange hears of.
func (c *clientConn) refused(status int) {
	why := reason.InvalidRequest
	if status == 431 {
		why = reason.HeaderTooLarge
	}
	c.shard.options.Stats.Error(c.shard.options.Direction, why)
	c.requests.Status(status)
}

// checkSettings ends the connection of a client that does not speak HTTP/2
// properly.
func (c *clientConn) checkSettings(core *h2.Conn) {
	c.timer = nil // an idle connection keeps little
	if core.SettingsDue() {
		c.shard.limitHit(stats.LimitSettings)
	}
}

// accept begins an exchange.
func (c *clientConn) accept(down message.Stream) message.Handler {
	c.active++
	c.accepted, c.begun, c.stale = true, false, false
	if c.leaving || c.security != nil && c.security.Worn() {
		c.leaving = false
		c.goAway()
	}
	return c.shard.exchange(c, down)
}

func (c *clientConn) exchangeEnded() { c.active-- }

// takeFirst returns the endpoint that was picked for the client, once.
func (c *clientConn) takeFirst() *balance.Endpoint {
	e := c.first
	c.first = nil
	return e
}

// leave ends the connection when what is under way on it has ended. On HTTP/1 the
// first request is: the client has connected to send it.
func (c *clientConn) leave() {
	if c.kind == kindHTTP1 && !c.accepted {
		c.leaving = true
		return
	}
	c.goAway()
}

// Receive notes that a head begins, unless p has all of it.
func (c *clientConn) Receive(p []byte) error {
	c.begun = c.begun || c.active == 0
	return c.Core.Receive(p)
}

// checkHeader ends a connection whose client has begun a head and does not end
// it. It looks once in HeaderTimeout, so that a request costs no timer.
func (c *clientConn) checkHeader() {
	if c.begun && c.stale {
		c.shard.limitHit(stats.LimitHeader)
		c.conn.Abort()
		return
	}
	c.stale = c.begun
	c.shard.worker.After(c.timer, c.shard.options.Limits.HeaderTimeout)
}

// Closed is the last that is heard of the connection.
func (c *clientConn) Closed(err error) {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.shard.closed(err)
	delete(c.shard.conns, c)
	if c.Core != nil {
		c.Core.Closed(err)
	}
	c.bytes.Close()
	c.done()
}

func (s *shard) drain() {
	s.draining = true
	s.goAway()
}

func (s *shard) stop() {
	s.stopping = true
	s.goAway()
}

func (s *shard) goAway() {
	for c := range s.conns {
		c.leave()
	}
}

func (s *shard) abort() {
	for c := range s.conns {
		c.conn.Abort()
	}
}
