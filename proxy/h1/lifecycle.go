// SPDX-License-Identifier: Apache-2.0

package h1

import "github.com/shuntmesh/shunt/proxy/message"

// begin puts a stream in turn.
func (c *conn) begin(h message.Handler) *stream {
	c.which ^= 1
	s := &c.streams[c.which]
	*s = stream{conn: c, handler: h}
	c.turn, c.credit, c.out, c.early = s, 0, outgoing{}, nil
	return s
}

// finish ends the stream in turn, and returns its handler, which hears nothing
// more unless the caller has something left to tell.
func (c *conn) finish() message.Handler {
	s := c.turn
	h := s.handler
	s.over, s.handler = true, nil
	c.turn, c.credit = nil, 0
	return h
}

// die ends all reading.
func (c *conn) die() { c.state, c.held, c.credit = readDead, nil, 0 }

// close ends the connection in order.
func (c *conn) close() {
	c.die()
	c.wire.Close()
}

// breakOff is for a message that can't be sent to its end. The handler hears of
// it with Closed, since no Stream calls back.
func (c *conn) breakOff() {
	c.die()
	c.wire.Abort()
}

// drained is called when the peer has room again.
func (c *conn) drained() {
	c.full = false
	if s := c.turn; s != nil && s.waits {
		s.waits = false
		s.handler.OnDrained()
	}
}

// tunnelEnded is called at the peer's end of its direction of a tunnel.
func (c *conn) tunnelEnded() {
	c.state = readEnded
	h := c.turn.handler
	if c.out.ended {
		c.finish()
		c.close()
	}
	h.OnData(nil, true)
}

// tunnelSent is called at our end of the other.
func (c *conn) tunnelSent() {
	if c.state != readEnded {
		c.wire.CloseWrite()
		return
	}
	c.finish()
	c.close()
}
