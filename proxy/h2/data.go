// SPDX-License-Identifier: Apache-2.0

package h2

import "github.com/shuntmesh/shunt/proxy/message"

// readData gives a piece of a body to its Handler.
func (c *Conn) readData(h frameHeader, p []byte) error {
	if h.id == 0 {
		return connError(message.ProtocolError, "DATA on stream 0")
	}
	n := int64(len(p)) // padding counts
	if n > c.recvWin {
		return connError(message.FlowControlError, "DATA exceeds the window of the connection")
	}
	c.recvWin -= n
	c.returnWindow(n)
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	s, end := c.streams.get(h.id), h.has(flagEndStream)
	if s == nil {
		return c.dataUnexpected(h.id)
	}
	if code, ok := s.admits(n, int64(len(p)), end); !ok {
		return c.streamError(s, code)
	}
	s.recvWin -= n
	if len(p) == 0 && !end {
		s.owe(n)
		return c.spend(1)
	}
	c.earn(1)
	s.uncredited += len(p)
	s.recvEnded = end
	s.owe(n - int64(len(p)))
	if s.recvWin <= 0 && !end {
		c.o.hit(LimitWindow)
	}
	s.h.OnData(p, end)
	if end {
		c.receivingEnded(s)
	}
	return nil
}

// admits checks a DATA frame of n bytes, body of them without padding, against
// the state, the window and the content-length of its stream.
func (s *stream) admits(n, body int64, end bool) (message.Code, bool) {
	switch {
	case s.recvEnded:
		return message.StreamClosed, false
	case !s.c.server() && !s.headReceived:
		return message.ProtocolError, false
	case n > s.recvWin:
		return message.FlowControlError, false
	case s.left >= 0 && (body > s.left || end && body != s.left):
		return message.ProtocolError, false
	}
	if s.left >= 0 {
		s.left -= body
	}
	return 0, true
}

// dataUnexpected handles DATA on a stream that is not open.
func (c *Conn) dataUnexpected(id uint32) error {
	if c.idle(id) {
		return connError(message.ProtocolError, "DATA on an idle stream")
	}
	if _, reset := c.recent.find(id); reset || !c.server() {
		return nil
	}
	c.writeReset(id, message.StreamClosed)
	return c.spend(1)
}

// returnWindow gives the window of the connection back, a quarter at a time.
func (c *Conn) returnWindow(n int64) {
	if c.owed += n; c.owed >= int64(c.o.ConnWindow)/4 {
		c.writeWindowUpdate(0, c.owed)
		c.recvWin += c.owed
		c.owed = 0
	}
}

// owe gives the window of a stream back, half of it at a time; n bytes more
// were disposed of.
func (s *stream) owe(n int64) {
	if s.owed += n; s.owed >= int64(s.c.o.StreamWindow)/2 && !s.recvEnded {
		s.c.writeWindowUpdate(s.id, s.owed)
		s.recvWin += s.owed
		s.owed = 0
	}
}
