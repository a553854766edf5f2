// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/binary"

	"github.com/shuntmesh/shunt/proxy/message"
)

func (c *Conn) readWindowUpdate(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return connError(message.FrameSizeError, "WINDOW_UPDATE has a bad length")
	}
	if err := c.spend(1); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	if h.id == 0 {
		return c.widen(n)
	}
	s := c.streams.get(h.id)
	switch {
	case s == nil && c.idle(h.id):
		return connError(message.ProtocolError, "WINDOW_UPDATE on an idle stream")
	case s == nil: // it ended before the peer knew
		return nil
	case n == 0:
		return c.streamError(s, message.ProtocolError)
	case s.sendWin+n > maxWindow:
		return c.streamError(s, message.FlowControlError)
	}
	s.sendWin += n
	c.requeue(s)
	c.pump()
	return nil
}

// widen adds to the window of the connection.
func (c *Conn) widen(n int64) error {
	if n == 0 {
		return connError(message.ProtocolError, "WINDOW_UPDATE of nothing")
	}
	if c.sendWin += n; c.sendWin > maxWindow {
		return connError(message.FlowControlError, "WINDOW_UPDATE makes the window overflow")
	}
	c.pump()
	return nil
}
