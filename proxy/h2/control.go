// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/binary"

	"github.com/shuntmesh/shunt/proxy/message"
)

const priorityLen = 5

// readPriority checks what is otherwise ignored (RFC 9113, section 5.3.2). What
// is wrong on a stream that is not open cannot be said by RST_STREAM.
func (c *Conn) readPriority(h frameHeader, p []byte) error {
	var code message.Code
	var wrong string
	switch {
	case h.id == 0:
		return connError(message.ProtocolError, "PRIORITY on stream 0")
	case len(p) != priorityLen:
		code, wrong = message.FrameSizeError, "PRIORITY has a bad length"
	case binary.BigEndian.Uint32(p)&maxStreamID == h.id:
		code, wrong = message.ProtocolError, "stream depends on itself"
	default:
		return c.spend(1)
	}
	if s := c.streams.get(h.id); s != nil {
		return c.streamError(s, code)
	}
	return connError(code, wrong)
}

func (c *Conn) readReset(h frameHeader, p []byte) error {
	switch {
	case h.id == 0:
		return connError(message.ProtocolError, "RST_STREAM on stream 0")
	case len(p) != 4:
		return connError(message.FrameSizeError, "RST_STREAM has a bad length")
	case c.idle(h.id):
		return connError(message.ProtocolError, "RST_STREAM on an idle stream")
	}
	s := c.streams.get(h.id)
	if s == nil {
		return c.spend(1)
	}
	soon := c.soon(s)
	code := message.Code(binary.BigEndian.Uint32(p))
	c.end(s, message.Reset{Code: code, Unprocessed: code == message.RefusedStream && !c.server()})
	if soon {
		return c.annoyed()
	}
	c.served()
	return nil
}

// pingLeave is the payload of the PING that goes with a warning of GOAWAY.
const pingLeave = "leaving?"

func (c *Conn) readPing(h frameHeader, p []byte) error {
	switch {
	case h.id != 0:
		return connError(message.ProtocolError, "PING on a stream")
	case len(p) != 8:
		return connError(message.FrameSizeError, "PING has a bad length")
	case !h.has(flagAck):
		c.writePing(flagAck, p)
	case string(p) == pingLeave && c.leave.started && !c.leave.final:
		c.lastGoAway()
	}
	return c.spend(1)
}

// leaveState is how far the end of the connection by GOAWAY has come.
type leaveState struct {
	started  bool // by us
	final    bool // and our last GOAWAY was sent,
	lastID   uint32
	received bool // by the peer, that is, a server
}

// GoAway ends the connection gracefully. A server first warns the client, and a
// round trip later tells which request was the last (RFC 9113, section 6.8); a
// client just opens no more. The Wire is closed when the last stream ended.
func (c *Conn) GoAway() {
	if c.err != nil || c.closing || c.leave.started {
		return
	}
	c.leave.started = true
	if !c.server() {
		c.lastGoAway()
		return
	}
	c.writeGoAway(maxStreamID, message.NoError, "")
	c.writePing(0, []byte(pingLeave))
}

// lastGoAway tells the last stream of the peer that is served.
func (c *Conn) lastGoAway() {
	c.leave.final = true
	if c.server() {
		c.leave.lastID = c.lastID
	}
	c.writeGoAway(c.leave.lastID, message.NoError, "")
	c.roomChanged()
	c.closeWhenLeft()
}

// closeWhenLeft closes the connection once nothing is to come on it.
func (c *Conn) closeWhenLeft() {
	if c.open == 0 && c.err == nil && (c.leave.final || c.leave.received) {
		c.close()
	}
}

func (c *Conn) readGoAway(h frameHeader, p []byte) error {
	switch {
	case h.id != 0:
		return connError(message.ProtocolError, "GOAWAY on a stream")
	case len(p) < 8:
		return connError(message.FrameSizeError, "GOAWAY has a bad length")
	case c.server(): // this client opens no more streams, and closes
		return c.spend(1)
	}
	c.leave.received = true
	last := binary.BigEndian.Uint32(p) & maxStreamID
	for _, s := range c.streams.list() {
		if s.id > last {
			c.end(s, message.Reset{Code: message.RefusedStream, Unprocessed: true})
		}
	}
	c.roomChanged()
	c.closeWhenLeft()
	return c.spend(1)
}
