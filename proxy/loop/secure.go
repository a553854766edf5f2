// SPDX-License-Identifier: Apache-2.0

package loop

// sealSize is how much plaintext is sealed at once: what the peer has no room
// for stays plaintext, and one buffer serves all connections of a worker.
const sealSize = 256 << 10

// secure is the state of a connection with a Transport.
type secure struct {
	transport Transport
	sink      func(plain []byte) error // made once: Open is called for each read
	// sealed[sent:] is what the socket had no room for.
	sealed   []byte
	sent     int
	notified bool // the end of our direction is sealed
}

func newSecure(c *Conn, t Transport) *secure {
	s := &secure{transport: t}
	s.sink = func(plain []byte) error {
		if c.closing != nil || c.has(gone|aborting) {
			return nil
		}
		return c.core.Receive(plain)
	}
	return s
}

// pushSecure writes what is sealed already, or seals and writes a piece of the
// output.
func (w *Worker) pushSecure(c *Conn) error {
	s := c.secure
	if len(s.sealed) > 0 {
		n, err := w.driver.write(c, s.sealed[s.sent:])
		if err != nil && !isAgain(err) {
			return err
		}
		c.countSent(n)
		if s.sent += n; s.sent < len(s.sealed) {
			c.set(blocked)
			return nil
		}
		w.pool.put(s.sealed)
		s.sealed, s.sent = nil, 0
		c.touch() // the next piece is the next turn's
		return nil
	}
	records, err := w.seal(c)
	if err != nil || len(records) == 0 {
		return err
	}
	n, err := w.driver.write(c, records)
	if err != nil && !isAgain(err) {
		return err
	}
	c.countSent(n)
	if n < len(records) {
		s.sealed = append(w.pool.get(len(records)-n), records[n:]...)
		c.set(blocked)
	} else if len(c.out) > c.sent {
		c.touch()
	}
	return nil
}

// seal turns the next piece of the output into records, in the worker's buffer.
func (w *Worker) seal(c *Conn) ([]byte, error) {
	s := c.secure
	plain := c.out[c.sent:min(len(c.out), c.sent+sealSize)]
	last := c.sent+len(plain) == len(c.out)
	notify := last && !s.notified && (c.closing != nil || c.has(wantFIN))
	if len(plain) == 0 && !s.transport.Pending() && !notify {
		return nil, nil
	}
	records := w.records[:0]
	if len(plain) > 0 || s.transport.Pending() {
		var err error
		if records, err = s.transport.Seal(records, plain); err != nil {
			return nil, err
		}
	}
	if notify {
		records = s.transport.Close(records)
		s.notified = true
	}
	if c.sent += len(plain); last {
		c.release()
	}
	w.records = records[:0]
	return records, nil
}
