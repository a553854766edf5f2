// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"io"
	"syscall"
)

// This file is what a turn does with one connection: readable and writable are
// called when its socket is, flush at the end of a turn in which it was touched.

// readable reads once. Level-triggered events bring back what is left.
func (w *Worker) readable(c *Conn) {
	if c.source != nil && c.closing == nil {
		w.spliceIn(c)
		return
	}
	n, err := w.driver.read(c, w.buf)
	switch {
	case err != nil && isAgain(err):
	case err != nil:
		w.broken(c, err)
	case n == 0:
		w.peerEnded(c)
	default:
		c.countReceived(n)
		w.feed(c, w.buf[:n])
	}
}

// feed gives the core what came from the socket.
func (w *Worker) feed(c *Conn, p []byte) {
	if c.closing != nil || c.has(gone|aborting) {
		return
	}
	var err error
	if c.secure == nil {
		err = c.core.Receive(p)
	} else {
		err = c.secure.transport.Open(p, c.secure.sink)
		if c.secure.transport.Pending() {
			c.touch()
		}
		if err == io.EOF { //nolint:errorlint // Open says that it is returned as it is
			w.peerEnded(c)
			return
		}
	}
	if err != nil {
		c.shut(err)
	}
}

// writable flushes what waited for room.
func (w *Worker) writable(c *Conn) {
	c.clear(blocked)
	w.flush(c)
}

// hangup is called when the socket has an error, or both directions have ended,
// while its input is not wanted.
func (w *Worker) hangup(c *Conn) {
	if err := w.driver.pendingError(c); err != nil {
		w.broken(c, err)
		return
	}
	w.driver.ignore(c)
}

// peerEnded is called when the peer's end of stream is seen.
func (w *Worker) peerEnded(c *Conn) {
	if c.has(ended | gone) {
		return
	}
	c.set(ended)
	c.touch()
	if c.closing != nil || c.has(aborting) {
		return
	}
	if c.secure != nil {
		if err := c.secure.transport.End(); err != nil {
			c.shut(err)
			return
		}
	}
	if err := c.core.End(); err != nil {
		c.shut(err)
	}
}

// broken ends a connection whose socket gave an error. After our FIN a reset is
// how some peers close.
func (w *Worker) broken(c *Conn, err error) {
	err = asReset(err)
	if c.closing != nil && (c.has(sentFIN) || c.closing.err != nil) {
		err = c.closing.err
	}
	w.finish(c, err, true)
}

// asReset gives a reset one name: EPIPE is what it is called after the peer's
// FIN, or when a write has got its error already.
func asReset(err error) error {
	if err == syscall.EPIPE { //nolint:errorlint // drivers return plain errnos
		return syscall.ECONNRESET
	}
	return err
}

// flush writes once, and does what waited for the output to be gone.
func (w *Worker) flush(c *Conn) {
	if c.has(gone) {
		return
	}
	if c.has(aborting) {
		w.finish(c, ErrAborted, true)
		return
	}
	if c.Unsent() > c.worker.highWater {
		c.set(high)
	}
	if !c.has(blocked) {
		if err := w.push(c); err != nil {
			w.broken(c, err)
			return
		}
	}
	if c.Unsent() == 0 {
		w.flushed(c)
	}
	if !c.has(gone) {
		w.driver.watch(c)
	}
}

// push writes once: out, then what is in the pipe.
func (w *Worker) push(c *Conn) error {
	if c.secure != nil {
		return w.pushSecure(c)
	}
	if len(c.out) > c.sent {
		n, err := w.driver.write(c, c.out[c.sent:])
		return c.wrote(n, err)
	}
	if c.pipe != nil {
		return w.spliceOut(c)
	}
	return nil
}

// wrote takes n bytes off the output.
func (c *Conn) wrote(n int, err error) error {
	if err != nil && !isAgain(err) {
		return err
	}
	c.countSent(n)
	if c.sent += n; c.sent < len(c.out) {
		c.set(blocked)
		if c.sent > len(c.out)/2 {
			c.out = c.out[:copy(c.out, c.out[c.sent:])]
			c.sent = 0
		}
		return nil
	}
	if c.pipe != nil {
		c.touch()
	}
	return nil
}

// flushed is called when the socket has taken all of the output.
func (w *Worker) flushed(c *Conn) {
	c.release()
	if c.has(high) {
		c.clear(high)
		if c.closing == nil {
			c.core.Drained()
		}
	}
	if c.from != nil && c.from.source.waiting {
		c.from.source.resume(c.from)
	}
	if c.Unsent() > 0 || c.has(gone) || c.closing == nil && !c.has(wantFIN) {
		return
	}
	if c.has(ended) { // close sends FIN, unless CloseWrite has
		w.finish(c, c.why(), false)
		return
	}
	if !c.has(sentFIN) && (c.secure == nil || c.secure.notified) {
		c.set(sentFIN)
		w.driver.closeWrite(c)
	}
}

// release gives the output's buffer back.
func (c *Conn) release() {
	if c.out == nil {
		return
	}
	c.clear(bulky)
	if cap(c.out) >= 2*BufferSize {
		c.set(bulky)
	}
	c.worker.pool.put(c.out)
	c.out, c.sent = nil, 0
}
