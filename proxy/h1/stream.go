// SPDX-License-Identifier: Apache-2.0

package h1

import "github.com/shuntmesh/shunt/proxy/message"

// stream is one request and its response, as a message.Stream. It is over when
// the response has ended, in either role: of a request that goes on nobody
// hears any more. Once it is over all its methods do nothing.
type stream struct {
	conn    *conn
	handler message.Handler
	over    bool
	waits   bool // Unsent was not zero
}

func (s *stream) dead() bool { return s.over || s.conn.state == readDead }

// SendHead sends a head.
func (s *stream) SendHead(h *message.Head, end bool) {
	if s.dead() {
		return
	}
	c := s.conn
	switch {
	case h.Kind != message.Trailers:
		c.role.sendHead(h, end)
	case c.out.begun:
		c.sendTrailers(h)
	default:
		c.misframed(true)
	}
	c.settle()
}

// SendData sends content, or bytes through a tunnel.
func (s *stream) SendData(p []byte, end bool) {
	if s.dead() {
		return
	}
	if s.conn.out.begun {
		s.conn.sendData(p, end)
	} else {
		s.conn.misframed(end)
	}
	s.conn.settle()
}

// Unsent is how many bytes there is no room for: none below the HighWater of the Wire.
func (s *stream) Unsent() int {
	if s.dead() {
		return 0
	}
	n := len(s.conn.early)
	if s.conn.full {
		n += s.conn.wire.Unsent()
	}
	s.waits = s.waits || n > 0
	return n
}

// Credit lets the peer send on.
func (s *stream) Credit(n int) {
	if s.dead() {
		return
	}
	c := s.conn
	c.credit = max(c.credit-n, 0)
	if !c.running {
		c.balance()
	}
}

// Reset ends the connection: HTTP/1.1 has no other way to end a message early,
// so that the peer knows.
func (s *stream) Reset(message.Code) {
	if s.dead() {
		return
	}
	s.conn.finish()
	s.conn.breakOff()
}

// measure notes that the peer has no room. Drained takes it back.
func (c *conn) measure() {
	if !c.full && c.wire.Unsent() > c.wire.HighWater() {
		c.full = true
		c.options.hit(LimitUnsent)
	}
}

// settle is what every call ends with that may have sent something.
func (c *conn) settle() {
	c.measure()
	if !c.running {
		c.balance()
	}
}
