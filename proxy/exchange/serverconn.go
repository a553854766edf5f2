// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"slices"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// serverConn is a connection to an endpoint.
type serverConn struct {
	core
	peer     peer     // nil on HTTP/1
	security security // nil: plaintext
	group    *group
	conn     *loop.Conn
	idle     loop.Timer
	asking   []*exchange // that wait for the peer's SETTINGS
	used     bool        // since the last look
	ready    bool        // in group.ready
}

// looks is how often in its idle time a connection is looked at.
const looks = 2

// join makes c one of its group.
func (c *serverConn) join() {
	c.group.conns = append(c.group.conns, c)
	c.idle.F = c.look
	if c.peer == nil {
		c.lookLater()
	} else {
		c.idle.F = c.checkSettings
		s := c.group.pool.shard
		s.worker.After(&c.idle, s.options.Limits.SettingsTimeout)
	}
	c.changed()
}

// checkSettings ends a connection whose peer does not speak HTTP/2 properly, and
// has others be looked at.
func (c *serverConn) checkSettings() {
	if c.peer.SettingsDue() {
		c.group.pool.shard.limitHit(stats.LimitSettings)
		c.group.unready(c)
		return
	}
	c.idle.F = c.look
	c.lookLater()
}

// open gives x a stream, if there is room.
func (c *serverConn) open(x *exchange) bool {
	if c.Room() == 0 {
		c.ready = false
		return false
	}
	c.used = true
	switch {
	case c.peer == nil:
		x.opened(c.Open((*answer)(x)))
	case x.request.Protocol != "" && !c.peer.Settled():
		c.asking = append(c.asking, x)
		x.group = c.group
	case x.request.Protocol != "" && !c.peer.ConnectProtocol():
		x.fail(reason.NoConnect)
	case !c.peer.Fits(x.request):
		x.fail(reason.HeaderTooLarge)
	default:
		x.opened(c.Open((*answer)(x)))
	}
	return true
}

// answer opens streams for those that waited for SETTINGS.
func (c *serverConn) answer() {
	asking := c.asking
	c.asking = nil
	for _, x := range asking {
		x.group = nil
		if !c.open(x) {
			c.group.pool.open(c.group.key.addr, x)
		}
	}
}

// changed is called by the core when there is room again, and when there will be
// none any more.
func (c *serverConn) changed() {
	if c.core == nil {
		return
	}
	if len(c.asking) > 0 && c.peer.Settled() {
		c.answer()
	}
	if c.Room() > 0 && !c.ready {
		c.ready = true
		c.group.ready = append(c.group.ready, c)
	}
	if c.ready && len(c.group.waiting) > 0 {
		c.group.serve()
	}
}

// look closes a connection that was not in use since the last look. It costs
// requests no timer, and needs nobody to tell that a stream has ended.
func (c *serverConn) look() {
	busy := c.Streams() > 0 || len(c.asking) > 0
	if busy || c.used {
		c.used = busy
		c.lookLater()
		return
	}
	limit, _ := c.mayIdle()
	c.group.pool.shard.limitHit(limit)
	c.group.unready(c)
	c.conn.Close()
}

// mayIdle is how long the connection may be idle, and what that limit is called.
func (c *serverConn) mayIdle() (stats.Limit, time.Duration) {
	limits := &c.group.pool.shard.options.Limits
	if c.group.key.kind == kindHTTP1 {
		return stats.LimitIdleHTTP1, limits.IdleHTTP1
	}
	return stats.LimitIdleHTTP2, limits.IdleHTTP2
}

func (c *serverConn) lookLater() {
	_, after := c.mayIdle()
	c.group.pool.shard.worker.After(&c.idle, after/looks)
}

// Closed takes the connection out of the pool.
func (c *serverConn) Closed(err error) {
	g := c.group
	c.idle.Stop()
	g.pool.shard.closed(err)
	g.unready(c)
	if i := slices.Index(g.conns, c); i >= 0 {
		g.conns = slices.Delete(g.conns, i, i+1)
	}
	c.core.Closed(err)
	asking := c.asking
	c.asking = nil
	for _, x := range asking {
		x.group = nil
		x.attemptFailed(reason.RefusedStream)
	}
	g.dialWhatIsWanted()
	g.forget()
}
