// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// maxIdle is how many connections of HTTP/1 to one address are kept for clients
// to come, of those that were dialled before it was known what they speak.
const maxIdle = 64

// core is the protocol of a connection to an endpoint: h1.Client or h2.Conn.
type core interface {
	loop.Core
	Open(message.Handler) message.Stream
	Room() int
	Streams() int
}

// pool shares one worker's connections to endpoints.
type pool struct {
	shard   *shard
	newCore func(*group, *loop.Conn, func()) core
	groups  map[groupKey]*group
	closed  bool
}

// peer is what a core of HTTP/2 knows of the endpoint: what it takes.
type peer interface {
	Settled() bool
	ConnectProtocol() bool
	Fits(*message.Head) bool
	SettingsDue() bool
}

type groupKey struct {
	addr netip.AddrPort
	kind kind
}

// group is the connections of one protocol to one address.
type group struct {
	pool    *pool
	key     groupKey
	conns   []*serverConn
	dialing int
	ready   []*serverConn // with room, the latest used last
	waiting []*exchange   // in the order that they came
	streams int           // that the endpoint allowed last on one connection; 0 is not known
}

// open gives x a stream to addr, now or later, or the reason why there is none.
func (p *pool) open(addr netip.AddrPort, x *exchange) {
	g := p.group(groupKey{addr, x.conn.kind})
	for len(g.ready) > 0 {
		if c := g.ready[len(g.ready)-1]; c.open(x) {
			return
		}
		g.ready = g.ready[:len(g.ready)-1]
	}
	g.waiting = append(g.waiting, x)
	x.group = g
	if g.dialing == 0 && g.full() {
		p.shard.limitHit(stats.LimitEndpointConns)
	}
	g.dialWhatIsWanted()
}

func (p *pool) group(key groupKey) *group {
	g := p.groups[key]
	if g == nil {
		g = &group{pool: p, key: key}
		p.groups[key] = g
	}
	return g
}

// leave takes an exchange out that has ended while it waited.
func (g *group) leave(x *exchange) {
	x.group = nil
	if i := slices.Index(g.waiting, x); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		return
	}
	for _, c := range g.conns {
		if i := slices.Index(c.asking, x); i >= 0 {
			c.asking = slices.Delete(c.asking, i, i+1)
		}
	}
}

// dialWhatIsWanted dials once for each request that waits on HTTP/1, and one
// connection at a time for all of them on HTTP/2.
func (g *group) dialWhatIsWanted() {
	for g.dialing < len(g.waiting) && !g.pool.closed {
		if g.key.kind == kindHTTP2 && (g.dialing > 0 || g.full()) {
			return
		}
		g.dialing++
		g.pool.shard.dial(g.key.addr, g.dialed)
	}
}

// full tells that there are as many connections as there may be.
func (g *group) full() bool {
	return g.key.kind == kindHTTP2 && len(g.conns) >= g.pool.shard.options.Limits.MaxEndpointConns
}

func (g *group) dialed(c *net.TCPConn, why reason.Reason) {
	if c == nil || g.pool.closed || g.pool.shard.options.Secure == nil {
		g.connected(Secured{Conn: c}, why)
		return
	}
	g.pool.shard.secure(c, g.key.kind, func(s Secured) { g.connected(s, reason.TLSFailed) })
}

// join takes a connection that others have dialled, unless there are enough: each
// client that says nothing at first brings one.
func (g *group) join(c *net.TCPConn, pending []byte) {
	enough := maxIdle
	if g.key.kind == kindHTTP2 {
		enough = 1
	}
	if len(g.ready)+g.dialing >= enough {
		_ = c.Close()
		return
	}
	g.dialing++
	if len(pending) > 0 {
		g.connected(Secured{Conn: c, Pending: pending}, reason.None) // the endpoint speaks plaintext
		return
	}
	g.dialed(c, reason.None)
}

// connected ends what dialling began. why says why there is no connection.
func (g *group) connected(s Secured, why reason.Reason) {
	g.dialing--
	switch {
	case s.Conn == nil:
	case g.pool.closed:
		_ = s.Conn.Close()
		why = reason.UpstreamReset
	case g.add(s) == nil:
		g.serve()
		return
	default:
		why = reason.NoDescriptors
	}
	g.fail(why)
	g.forget()
}

// fail ends the attempts that an unsuccessful dial was for.
func (g *group) fail(why reason.Reason) {
	n := len(g.waiting)
	if g.key.kind == kindHTTP1 {
		n -= g.dialing // they have dials of their own
	}
	for ; n > 0 && len(g.waiting) > 0; n-- { // some may come back
		g.shift().attemptFailed(why)
	}
}

func (g *group) shift() *exchange {
	x := g.waiting[0]
	g.waiting = slices.Delete(g.waiting, 0, 1)
	x.group = nil
	return x
}

// add takes a connection into the group.
func (g *group) add(s Secured) error {
	c := &serverConn{group: g, security: securityOf(s.Transport)}
	_, err := g.pool.shard.worker.Adopt(s.Conn, s.Pending, g.pool.shard.transport(s.Transport), func(conn *loop.Conn) loop.Core {
		c.conn = conn
		c.core = g.pool.newCore(g, conn, c.changed)
		c.peer, _ = c.core.(peer)
		return c
	})
	if err != nil {
		g.pool.shard.notAdopted(err)
		return err
	}
	c.join()
	return nil
}

// serve opens streams for those that wait, as far as there is room.
func (g *group) serve() {
	for len(g.waiting) > 0 && len(g.ready) > 0 {
		c := g.ready[len(g.ready)-1]
		if c.Room() == 0 {
			g.unready(c)
			continue
		}
		c.open(g.shift())
	}
	g.dialWhatIsWanted()
}

func (g *group) unready(c *serverConn) {
	c.ready = false
	if i := slices.Index(g.ready, c); i >= 0 {
		g.ready = slices.Delete(g.ready, i, i+1)
	}
}

// forget drops a group of which nothing is left.
func (g *group) forget() {
	if len(g.conns) == 0 && g.dialing == 0 && len(g.waiting) == 0 && g.pool.groups[g.key] == g {
		delete(g.pool.groups, g.key)
	}
}

// close ends what nobody uses; what is in use ends with its streams.
func (p *pool) close() {
	p.closed = true
	for _, g := range p.groups {
		for _, c := range g.conns {
			if c.Streams() == 0 {
				c.conn.Close()
			}
		}
	}
}
