// SPDX-License-Identifier: Apache-2.0

package h2

import "github.com/shuntmesh/shunt/proxy/message"

// stream is one stream; it implements message.Stream.
type stream struct {
	c    *Conn
	h    message.Handler
	id   uint32 // 0 before a client sent its head
	born uint32 // Conn.frames when it was opened

	sendWin int64 // what the peer allows; below zero after it took some back
	waiting chunks
	// trailers follow what waits.
	trailers *message.Head

	recvWin    int64
	owed       int64 // disposed of, and not yet given back to the peer
	uncredited int   // given to the Handler, and not yet disposed of
	left       int64 // of content-length; -1 when it does not bind

	next, prev *stream // in Conn.queue

	open, queued           bool
	sendEnded, recvEnded   bool
	endWaits               bool // END_STREAM follows what waits
	headSent, headReceived bool // the final one
	toHead, toConnect      bool // the request is such
	tunnel                 bool // a 2xx to CONNECT: each direction ends for itself
}

func (c *Conn) newStream(h message.Handler) *stream {
	s := c.o.Pool.stream()
	s.c, s.h, s.open = c, h, true
	s.recvWin, s.left = int64(c.o.StreamWindow), -1
	s.born = c.frames
	return s
}

// register gives a stream its identifier.
func (c *Conn) register(s *stream, id uint32) {
	s.id, s.sendWin = id, c.peer.window
	c.lastID = id
	c.streams.put(s)
}

// SendHead sends a head; trailers end the stream whether end is set or not.
func (s *stream) SendHead(h *message.Head, end bool) {
	if !s.sends() {
		return
	}
	c := s.c
	end = end || h.Kind == message.Trailers
	if s.id == 0 {
		c.register(s, c.nextID())
		s.toHead, s.toConnect = h.Method == methodHead, h.Method == methodConnect
	}
	if s.waiting.n > 0 {
		s.trailers, s.endWaits = kept(h), end
		return
	}
	s.headSent = s.headSent || !h.Informational()
	s.tunnel = s.tunnel || c.server() && s.toConnect && h.Kind == message.Response && h.Status/100 == 2
	c.writeHead(s.id, h, end)
	if end {
		s.sendEnded = true
		c.sendingEnded(s)
	}
}

// SendData sends p, or keeps what there is no room for.
func (s *stream) SendData(p []byte, end bool) {
	if !s.sends() || s.id == 0 {
		return
	}
	c := s.c
	if s.waiting.n == 0 {
		switch {
		case len(p) == 0 && end:
			s.writeData(nil, true)
		case c.queue.head == nil: // else others have waited longer
			p = s.sendNow(p, end)
		}
	}
	if len(p) > 0 {
		s.waiting.add(p, c.w)
		s.endWaits = end
		c.wait()
		c.requeue(s)
		return
	}
	switch {
	case !end:
	case s.waiting.n > 0:
		s.endWaits = true
	default:
		s.sendEnded = true
		c.sendingEnded(s)
	}
}

// sends tells whether more may be sent.
func (s *stream) sends() bool { return s.open && !s.sendEnded && !s.endWaits && s.c.err == nil }

// Unsent is how many bytes wait for room.
func (s *stream) Unsent() int { return s.waiting.n }

// Credit lets the peer send n bytes more. It is the one method that counts
// after the stream ended, too: the object is used again when all is credited.
func (s *stream) Credit(n int) {
	n = min(n, s.uncredited)
	if n <= 0 {
		return
	}
	s.uncredited -= n
	if s.open {
		s.owe(int64(n))
	} else if s.uncredited == 0 {
		s.c.o.Pool.retire(s)
	}
}

// Reset ends the stream. Of one whose head was not sent the peer hears nothing.
func (s *stream) Reset(code message.Code) {
	if !s.open {
		return
	}
	if s.id != 0 {
		s.c.writeReset(s.id, code)
	}
	s.c.forget(s, true)
}

// sendingEnded follows END_STREAM in our direction.
func (c *Conn) sendingEnded(s *stream) {
	switch {
	case !s.open:
	case s.recvEnded:
		c.served()
		c.forget(s, false)
	case c.server() && !s.tunnel:
		// A response that does not need the rest of its request: the client
		// is to stop sending (RFC 9113, section 8.1).
		c.writeReset(s.id, message.NoError)
		c.served()
		c.forget(s, true)
	}
}

// receivingEnded follows END_STREAM in the peer's direction.
func (c *Conn) receivingEnded(s *stream) {
	if s.open && s.sendEnded {
		c.served()
		c.forget(s, false)
	}
}

// forget takes a stream out of everything; reset tells that it was we who sent
// RST_STREAM.
func (c *Conn) forget(s *stream, reset bool) {
	hadRoom := c.Room() > 0
	if s.id != 0 {
		c.streams.remove(s)
		if c.server() {
			c.recent.add(s.id, reset)
		}
	}
	c.queue.remove(s)
	s.waiting.release(c.w)
	s.open, s.h, s.trailers = false, nil, nil
	c.open--
	if s.uncredited == 0 {
		c.o.Pool.retire(s)
	}
	if !hadRoom && c.Room() > 0 {
		c.roomChanged()
	}
	c.closeWhenLeft()
}

// kept returns a head that stays as it is.
func kept(h *message.Head) *message.Head {
	if h.Stable {
		return h
	}
	own := &message.Head{}
	h.CopyTo(own)
	return own
}
