// SPDX-License-Identifier: Apache-2.0

package h2

// longestFrame bounds DATA frames below what a peer may allow, so that streams
// take turns.
const longestFrame = 64 << 10

// blocked tells that no stream may send: neither its window nor its output has
// room for the connection.
func (c *Conn) blocked() bool { return c.sendWin <= 0 || c.w.Unsent() > c.high }

// wait notes that a stream has to wait: for the socket, unless for a window.
func (c *Conn) wait() {
	if !c.full && c.w.Unsent() > c.high {
		c.full = true
		c.o.hit(LimitUnsent)
	}
}

// sendNow writes as much of p as there is room for, and returns what is left.
// With the last byte goes END_STREAM, when it is to end.
func (s *stream) sendNow(p []byte, end bool) []byte {
	c := s.c
	for len(p) > 0 && !c.blocked() {
		n := min(int64(len(p)), s.sendWin, c.sendWin, int64(min(c.peer.maxFrame, longestFrame)))
		if n <= 0 {
			return p
		}
		s.writeData(p[:n], end && n == int64(len(p)))
		p = p[n:]
	}
	return p
}

func (s *stream) writeData(p []byte, end bool) {
	c := s.c
	s.sendWin -= int64(len(p))
	c.sendWin -= int64(len(p))
	c.earn(earnData + len(p)/earnDataBytes)
	var flags uint8
	if end {
		flags = flagEndStream
	}
	out := c.w.Output()
	*out = append(appendFrameHeader(*out, len(p), frameData, flags, s.id), p...)
}

// requeue gives a stream that has data and room of its own its turn.
func (c *Conn) requeue(s *stream) {
	if s.waiting.n > 0 && s.sendWin > 0 {
		c.queue.push(s)
	} else {
		c.queue.remove(s)
	}
}

// pump sends what waits, each stream a frame in turn, while there is room.
func (c *Conn) pump() {
	for s := c.queue.head; s != nil && c.err == nil && !c.blocked(); s = c.queue.head {
		c.queue.remove(s)
		s.sendWaiting()
	}
}

// sendWaiting sends a frame of what waits; with the last one, what was to
// follow it.
func (s *stream) sendWaiting() {
	c := s.c
	p := s.waiting.first()
	n := int(min(int64(len(p)), s.sendWin, c.sendWin, int64(min(c.peer.maxFrame, longestFrame))))
	last := n == s.waiting.n
	end := last && s.endWaits
	s.writeData(p[:n], end && s.trailers == nil)
	s.waiting.drop(n, c.w)
	if !last {
		c.requeue(s)
		return
	}
	if s.trailers != nil {
		c.writeHead(s.id, s.trailers, true)
		s.trailers = nil
	}
	s.sendEnded = s.sendEnded || end
	s.h.OnDrained()
	if end {
		c.sendingEnded(s)
	}
}
