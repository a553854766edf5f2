// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"sync/atomic"
)

// Conn is a connection of a Worker. Its methods may be called on the worker
// only: by cores, timers and posted functions.
type Conn struct {
	worker *Worker
	core   Core
	// out[sent:] goes to the peer. It is nil while there is nothing to send.
	out  []byte
	sent int

	secure  *secure  // nil: the socket has plaintext
	closing *closing // since Close, or an error of the core
	pipe    *pipe    // what follows out; nil while that is nothing
	source  *source  // set while input moves to another connection in the kernel
	from    *Conn    // the other way: the connection whose source this is

	state flags
	index int32 // in worker.conns
	fd    int32
	id    int32 // tells apart the connections that had fd one after the other
	mask  uint32
	ready *readiness // of the driver Goroutines

	received, written *atomic.Uint64
}

type flags uint16

const (
	dirty    flags = 1 << iota // in worker.dirty
	paused                     // Pause(true)
	blocked                    // the socket had no room for all of the output
	high                       // Drained is owed
	bulky                      // output has outgrown a pooled buffer
	ended                      // the peer's end of stream was seen
	wantFIN                    // CloseWrite
	sentFIN                    // FIN is behind all of the output
	aborting                   // Abort
	gone                       // closed
)

func (c *Conn) has(f flags) bool { return c.state&f != 0 }
func (c *Conn) set(f flags)      { c.state |= f }
func (c *Conn) clear(f flags)    { c.state &^= f }

// Count makes received and sent count the socket's bytes; either may be nil.
// Bytes that were read before Adopt count as received when it is called within
// Adopt's core or at once thereafter.
func (c *Conn) Count(received, sent *atomic.Uint64) { c.received, c.written = received, sent }

// Output is the buffer that goes to the peer: append to it, and do nothing else
// with it. It is written once, at the end of the turn.
func (c *Conn) Output() *[]byte {
	if c.has(gone) {
		c.out = c.out[:0] // nobody will ever read it
		return &c.out
	}
	c.touch()
	if c.out == nil {
		c.out = c.worker.pool.output(c.has(bulky))
	}
	return &c.out
}

// Send is Output for whole messages of bytes that are not assembled: it writes p
// at once when nothing is before it, and copies only what there is no room for.
func (c *Conn) Send(p []byte) {
	const busy = blocked | gone | aborting
	if c.secure == nil && c.closing == nil && !c.has(busy) && c.Unsent() == 0 {
		n, err := c.worker.driver.write(c, p)
		c.countSent(n)
		if p = p[n:]; len(p) == 0 {
			return
		}
		if err == nil || isAgain(err) {
			c.set(blocked)
		} // another error comes again with the turn's write, where it can be told
	}
	if c.has(gone) {
		return
	}
	c.touch()
	if c.out == nil {
		c.out = c.worker.pool.get(len(p))
	}
	c.out = append(c.out, p...)
}

// Unsent is how many bytes of Output the socket has not taken.
func (c *Conn) Unsent() int {
	n := len(c.out) - c.sent
	if c.secure != nil {
		n += len(c.secure.sealed) - c.secure.sent
	}
	if c.pipe != nil {
		n += c.pipe.held
	}
	return n
}

// HighWater is how many bytes of Unsent mean that the peer has no room.
func (c *Conn) HighWater() int { return c.worker.highWater }

// Buffer returns an empty buffer of BufferSize or more. Recycle takes it back.
func (c *Conn) Buffer() []byte { return c.worker.pool.get(BufferSize) }

// Recycle takes a buffer of Buffer back, which the caller must not use again.
func (c *Conn) Recycle(b []byte) { c.worker.pool.put(b) }

// Pause stops and resumes reading from the peer. What was read already is still
// delivered.
func (c *Conn) Pause(on bool) {
	if on {
		c.set(paused)
		return // an event that comes nevertheless is not asked for again
	}
	if c.has(paused) {
		c.clear(paused)
		c.touch()
	}
}

// Close sends what is in Output, ends the connection in order and discards what
// the peer still sends: closing with unread input would reset the connection,
// and the peer might lose our last bytes. After Options.CloseTimeout it is reset.
func (c *Conn) Close() { c.shut(nil) }

// CloseWrite sends FIN once Output is flushed. When the peer has ended too, the
// connection is closed.
func (c *Conn) CloseWrite() {
	c.set(wantFIN)
	c.touch()
}

// Abort resets the connection at the end of the turn. What is unsent is lost.
func (c *Conn) Abort() {
	c.set(aborting)
	c.touch()
}

// touch has the connection looked after at the end of the turn.
func (c *Conn) touch() {
	if !c.has(dirty | gone) {
		c.set(dirty)
		c.worker.dirty = append(c.worker.dirty, c)
	}
}

// wantsInput tells whether the socket should be read.
func (c *Conn) wantsInput() bool {
	switch {
	case c.has(ended):
		return false
	case c.closing != nil:
		return true // to discard it
	case c.source != nil && c.source.waiting:
		return false
	}
	return !c.has(paused)
}

func (c *Conn) countReceived(n int) {
	if c.received != nil {
		c.received.Add(uint64(n))
	}
}

func (c *Conn) countSent(n int) {
	if c.written != nil && n > 0 {
		c.written.Add(uint64(n))
	}
}
