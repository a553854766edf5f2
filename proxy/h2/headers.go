// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/binary"

	"github.com/shuntmesh/shunt/proxy/message"
)

// blockInput is a header block whose end is outstanding.
type blockInput struct {
	id      uint32
	end     bool // END_STREAM
	self    bool // the stream is to depend on itself
	frames  int  // CONTINUATION
	bytes   []byte
	outgrew bool // bytes is no pooled buffer any more
}

func (b *blockInput) release(w Wire) {
	if b.bytes != nil && !b.outgrew {
		w.Recycle(b.bytes[:0])
	}
	*b = blockInput{}
}

func (b *blockInput) add(p []byte, w Wire) {
	if b.bytes == nil {
		b.bytes = w.Buffer()
	}
	if len(b.bytes)+len(p) > cap(b.bytes) && !b.outgrew {
		pooled := b.bytes
		b.bytes = append(make([]byte, 0, 2*cap(pooled)), pooled...)
		b.outgrew = true
		w.Recycle(pooled[:0])
	}
	b.bytes = append(b.bytes, p...)
}

func (c *Conn) readHeaders(h frameHeader, p []byte) error {
	if h.id%2 == 0 {
		return connError(message.ProtocolError, "HEADERS on a stream that is not a client's")
	}
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	self := false
	if h.has(flagPriority) {
		if len(p) < priorityLen {
			return connError(message.FrameSizeError, "HEADERS is too short for its priority")
		}
		self = binary.BigEndian.Uint32(p)&maxStreamID == h.id
		p = p[priorityLen:]
	}
	if h.has(flagEndHeaders) {
		return c.readBlock(h.id, h.has(flagEndStream), self, p)
	}
	c.in.block.id, c.in.block.end, c.in.block.self = h.id, h.has(flagEndStream), self
	c.in.block.add(p, c.w)
	return nil
}

func (c *Conn) readContinuation(h frameHeader, p []byte) error {
	b := &c.in.block
	if b.id == 0 {
		return connError(message.ProtocolError, "CONTINUATION follows no HEADERS")
	}
	if b.frames++; b.frames > c.o.MaxContinuations {
		c.o.hit(LimitContinuations)
		return connError(message.EnhanceYourCalm, "too many CONTINUATION frames")
	}
	if len(b.bytes)+len(p) > 2*c.o.MaxHeaderBytes {
		c.o.hit(LimitHeaderBytes)
		return connError(message.EnhanceYourCalm, "header block is far too long")
	}
	b.add(p, c.w)
	if !h.has(flagEndHeaders) {
		return nil
	}
	whole := *b
	*b = blockInput{}
	err := c.readBlock(whole.id, whole.end, whole.self, whole.bytes)
	whole.release(c.w)
	return err
}

// readBlock decodes a whole header block. That of a stream which is not there
// any more is decoded for the sake of the table.
func (c *Conn) readBlock(id uint32, end, self bool, block []byte) error {
	s := c.streams.get(id)
	first := s == nil && c.server() && id > c.lastID
	if s == nil && !first {
		if err := c.lateBlock(id); err != nil {
			return err
		}
	}
	kind := message.Request
	switch {
	case s != nil && (c.server() || s.headReceived):
		kind = message.Trailers
	case !c.server():
		kind = message.Response
	}
	h, err := c.readHead(kind, block)
	if fatal(err) {
		return err
	}
	if err == nil && self {
		err = malformed("stream depends on itself")
	}
	switch {
	case first:
		return c.readRequest(id, end, h, err)
	case s != nil:
		return c.readMessage(s, end, h, err)
	}
	return c.spend(1)
}

// lateBlock tells whether a header block may come for a stream that is not
// open: one that ended before the peer could know.
func (c *Conn) lateBlock(id uint32) error {
	known, reset := c.recent.find(id)
	switch {
	case reset, !c.server() && !c.idle(id):
		return nil
	case known:
		return connError(message.StreamClosed, "HEADERS on a closed stream")
	}
	return connError(message.ProtocolError, "HEADERS on a stream that is not to be opened")
}

// idle tells whether no stream of this identifier was ever opened.
func (c *Conn) idle(id uint32) bool { return id%2 == 0 || id > c.lastID }

func (c *Conn) nextID() uint32 {
	if c.lastID == 0 {
		return 1
	}
	return c.lastID + 2
}

// readRequest opens a stream.
func (c *Conn) readRequest(id uint32, end bool, h *message.Head, err error) error {
	c.lastID = id
	switch {
	case c.leave.final: // GOAWAY told that it would not be served
		c.recent.add(id, true)
		return nil
	case isMalformed(err), err == nil && h.ContentLength > 0 && end:
		c.refuse(id, message.ProtocolError)
		c.refused(400)
		return c.annoyed()
	case err != nil:
		c.tooLarge(id, end)
		return c.annoyed()
	case c.open >= c.o.MaxStreams:
		c.o.hit(LimitStreams)
		c.refuse(id, message.RefusedStream)
		return c.spend(1)
	}
	c.earn(earnRequest)
	s := c.newStream(nil)
	c.open++
	c.register(s, id)
	s.recvEnded, s.headReceived, s.left = end, true, h.ContentLength
	if h.Method == methodConnect {
		s.left, s.toConnect = -1, true
	}
	handler := c.accept(s)
	switch {
	case !s.open:
	case handler == nil:
		s.Reset(message.RefusedStream)
	default:
		s.h = handler
		handler.OnHead(h, end)
	}
	return nil
}

// refuse resets a stream that nobody heard of.
func (c *Conn) refuse(id uint32, code message.Code) {
	c.recent.add(id, true)
	c.writeReset(id, code)
}

// tooLarge answers a request whose fields are above the limit (RFC 6585,
// section 5).
func (c *Conn) tooLarge(id uint32, end bool) {
	c.o.hit(LimitHeaderBytes)
	c.recent.add(id, true)
	c.writeHead(id, &message.Head{
		Kind: message.Response, Status: 431, ContentLength: -1,
		Fields: []*message.Field{{Name: "shunt-error", Value: "header-too-large"}},
	}, true)
	if !end {
		c.writeReset(id, message.NoError)
	}
	c.refused(431)
}

func (c *Conn) refused(status int) {
	if c.o.Refused != nil {
		c.o.Refused(status)
	}
}

// readMessage takes a response, or trailers of either kind.
func (c *Conn) readMessage(s *stream, end bool, h *message.Head, err error) error {
	switch {
	case s.recvEnded:
		return c.streamError(s, message.StreamClosed)
	case err != nil && !isMalformed(err):
		c.o.hit(LimitHeaderBytes)
		return c.streamError(s, message.EnhanceYourCalm)
	case err != nil,
		h.Kind == message.Trailers && !end,
		h.Kind == message.Response && (h.Status == 101 || end && h.Informational()):
		return c.streamError(s, message.ProtocolError)
	}
	if h.Informational() {
		s.h.OnHead(h, false)
		return c.spend(1)
	}
	if h.Kind == message.Response {
		s.headReceived = true
		s.expectBody(h)
	}
	if end && s.left > 0 {
		return c.streamError(s, message.ProtocolError)
	}
	s.recvEnded = end
	s.h.OnHead(h, end)
	if end {
		c.receivingEnded(s)
	}
	return nil
}

// expectBody notes how long a response's body is (RFC 9110, sections 6.4.1 and
// 8.6): some have none, whatever content-length says.
func (s *stream) expectBody(h *message.Head) {
	switch {
	case s.toHead, h.Status == 204, h.Status == 304:
		s.left = 0
	case s.toConnect && h.Status/100 == 2:
		s.left = -1
	default:
		s.left = h.ContentLength
	}
}
