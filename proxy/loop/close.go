// SPDX-License-Identifier: Apache-2.0

package loop

import "errors"

// closing is what a connection needs to end in order.
type closing struct {
	timer Timer
	err   error // for Core.Closed
}

// shut begins the end: the core gets nothing but Closed any more.
func (c *Conn) shut(err error) {
	if c.closing != nil || c.has(gone|aborting) {
		return
	}
	c.closing = &closing{err: err}
	c.closing.timer.F = c.closeTimedOut
	c.worker.After(&c.closing.timer, c.worker.closeTimeout)
	c.touch()
}

func (c *Conn) closeTimedOut() {
	err := c.closing.err
	if !c.has(sentFIN) {
		err = errors.Join(err, ErrCloseTimeout)
	}
	c.worker.finish(c, err, !c.has(sentFIN))
}

// why is what Core.Closed gets after an end in order.
func (c *Conn) why() error {
	if c.closing != nil {
		return c.closing.err
	}
	return nil
}

// finish closes the socket and tells the core. It is called by the loop only,
// never below a call of the same core.
func (w *Worker) finish(c *Conn, err error, reset bool) {
	if c.has(gone) {
		return
	}
	w.driver.close(c, reset)
	w.remove(c)
	c.core.Closed(err)
}

// remove forgets a connection whose descriptor is not ours any more.
func (w *Worker) remove(c *Conn) {
	c.set(gone)
	if c.closing != nil {
		c.closing.timer.Stop()
	}
	c.release()
	c.sent = 0
	if c.secure != nil && c.secure.sealed != nil {
		w.pool.put(c.secure.sealed)
		c.secure.sealed, c.secure.sent = nil, 0
	}
	c.dropPipe()
	last := len(w.conns) - 1
	w.conns[c.index] = w.conns[last]
	w.conns[c.index].index = c.index
	w.conns[last] = nil
	w.conns = w.conns[:last]
	w.open.Add(-1)
}
