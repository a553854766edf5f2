// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Worker owns connections, and calls their cores one at a time. Post, Conns, Turns,
// Load and MaxStall are safe for concurrent use; everything else may be called
// on the worker only.
type Worker struct {
	driver  driver
	mail    *mailbox
	pool    pool
	wheel   wheel
	pipes   pipes
	buf     []byte // what is read goes here
	records []byte // what is sealed goes here
	batch   []func()

	now     time.Time // of this turn
	base    time.Time // tick 0
	yielded time.Time
	stopped bool

	closeTimeout time.Duration
	highWater    int

	conns    []*Conn
	fresh    []fresh // adopted, nothing delivered yet
	dirty    []*Conn // to be flushed at the end of the turn
	flushing []*Conn
	posted   bool // functions are waiting

	open  atomic.Int64
	turns atomic.Uint64
	gauge gauge
}

// fresh is a connection with bytes that somebody else has read.
type fresh struct {
	conn    *Conn
	pending []byte
}

// New returns a Worker with the descriptors that it needs. Run must follow.
func New(o Options) (*Worker, error) {
	now := time.Now()
	w := &Worker{mail: newMailbox(), buf: make([]byte, ReadSize), now: now, base: now, yielded: now}
	w.closeTimeout = cmp.Or(o.CloseTimeout, DefaultCloseTimeout)
	w.highWater = cmp.Or(o.HighWater, DefaultHighWater)
	w.pool.worker = w
	w.pool.timer.F = w.pool.trim
	var err error
	if w.driver, err = newDriver(w, o.Driver); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	return w, nil
}

// Run gives the worker its turns until ctx ends; then it resets all connections
// that are open, and returns when nothing is left of it.
func (w *Worker) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.driver.wake)()
	return w.driver.run(ctx)
}

// Post has f run on the worker, after what was posted before. It blocks while
// the worker is far behind, unless it is the worker that posts: two workers that
// post to each other could wait for ever. False means that the worker has stopped,
// and that f will not run.
func (w *Worker) Post(f func()) bool {
	first, ok := w.mail.put(f)
	if first {
		w.driver.wake()
	}
	return ok
}

// Now is the time at which this turn began.
func (w *Worker) Now() time.Time { return w.now }

// After has t.F called when d has passed since Now, up to 10 ms later. A Timer
// that waits already is set anew. 100 days are the most.
func (w *Worker) After(t *Timer, d time.Duration) {
	t.Stop()
	at := w.now.Sub(w.base) + min(d, longest)
	w.wheel.add(t, uint64(max(at+tick-1, 0)/tick))
}

// Adopt makes tcp a connection of the worker; core is called at once to make
// what its bytes go to. pending was read from tcp before and is delivered first,
// later in this turn; nil for t means that tcp carries plaintext. tcp is taken
// over in any case: after an error it is closed.
func (w *Worker) Adopt(tcp *net.TCPConn, pending []byte, t Transport, core func(*Conn) Core) (*Conn, error) {
	c := &Conn{worker: w}
	if w.stopped {
		_ = tcp.Close()
		return nil, fmt.Errorf("adopt connection: %w", ErrStopped)
	}
	if t != nil {
		c.secure = newSecure(c, t)
	}
	if err := w.driver.adopt(c, tcp); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("adopt connection: %w", err)
	}
	c.index = int32(len(w.conns))
	w.conns = append(w.conns, c)
	w.open.Add(1)
	c.core = core(c)
	if t != nil || len(pending) > 0 {
		w.fresh = append(w.fresh, fresh{c, pending})
	}
	return c, nil
}

// begin starts a turn.
func (w *Worker) begin(now time.Time) {
	w.now = now
	w.turns.Add(1)
}

// end is the part of a turn after the sockets were read.
func (w *Worker) end() {
	if w.stopped {
		return
	}
	if w.posted {
		w.runPosted()
	}
	w.runTimers()
	for i := 0; i < len(w.fresh); i++ { // feeding may adopt more
		f := w.fresh[i]
		w.fresh[i] = fresh{}
		f.conn.countReceived(len(f.pending))
		w.feed(f.conn, f.pending)
	}
	w.fresh = w.fresh[:0]
	w.flushDirty()
}

// busy tells that there is something to do without waiting for a socket.
func (w *Worker) busy() bool { return w.posted || len(w.dirty) > 0 || len(w.fresh) > 0 }

func (w *Worker) runPosted() {
	w.batch, w.posted = w.mail.take(w.batch[:0], postBatch)
	for i, f := range w.batch {
		w.batch[i] = nil
		f()
	}
}

func (w *Worker) runTimers() {
	w.wheel.advance(uint64(w.now.Sub(w.base) / tick))
	for t := w.wheel.pop(); t != nil; t = w.wheel.pop() {
		t.F()
	}
}

// flushDirty flushes what was touched in this turn. What is touched by that is
// the next turn's: one write per turn and connection.
func (w *Worker) flushDirty() {
	w.flushing, w.dirty = w.dirty, w.flushing[:0]
	for i, c := range w.flushing {
		w.flushing[i] = nil
		c.clear(dirty)
		w.flush(c)
	}
}

// nextTimer is when runTimers must be called next.
func (w *Worker) nextTimer() (time.Time, bool) {
	when, _, ok := w.wheel.next()
	return w.base.Add(time.Duration(when) * tick), ok
}

// stop resets all connections, and runs what was posted before.
func (w *Worker) stop(cause error) {
	w.stopped = true
	for len(w.conns) > 0 {
		w.finish(w.conns[len(w.conns)-1], cause, true)
	}
	w.mail.close()
	for more := true; more; {
		w.batch, more = w.mail.take(w.batch[:0], postBatch)
		for _, f := range w.batch {
			f()
		}
	}
	for _, p := range w.pipes.free {
		p.close()
	}
}

var errUnknownDriver = errors.New("unknown driver")
