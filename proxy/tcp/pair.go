// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"sync/atomic"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
)

// spliceAfter full reads in a row, bytes go through the kernel alone. For small
// messages that takes twice the system calls.
const spliceAfter = 4

// pair is two connections and what is between them.
type pair struct {
	worker *loop.Worker
	idle   time.Duration
	timer  loop.Timer
	moved  time.Time // when something was relayed last
	open   int
	err    error // the first
	done   func(error)
	// limitHit is Options.LimitHit.
	limitHit func(name string)

	client direction
	server direction
}

// direction is the core of the connection that it comes from.
type direction struct {
	pair  *pair
	from  *loop.Conn
	to    *loop.Conn
	count *atomic.Uint64
	full  int // full reads in a row
}

// Relay relays until both directions have ended, and closes both connections;
// then it calls done, with nil when both ended in order. When one is reset, or
// the worker stops, both are reset. Relay and done are called on the worker.
func Relay(w *loop.Worker, client, server End, o Options, done func(error)) {
	p := newPair(w, o, done)
	p.server.adopt(server)
	p.client.adopt(client)
	p.client.to, p.server.to = p.server.from, p.client.from
	if p.err != nil {
		p.reset(p.err)
	}
	if p.open == 0 {
		p.end()
	}
}

func newPair(w *loop.Worker, o Options, done func(error)) *pair {
	p := &pair{worker: w, idle: o.IdleTimeout, moved: w.Now(), done: done, limitHit: o.LimitHit, open: 2}
	p.client = direction{pair: p, count: o.Received}
	p.server = direction{pair: p, count: o.Sent}
	if p.idle > 0 {
		p.timer.F = p.lookIdle
		w.After(&p.timer, p.idle)
	}
	return p
}

// adopt takes one end, which is closed when that is not possible.
func (d *direction) adopt(e End) {
	conn, err := d.pair.worker.Adopt(e.Conn, e.Pending, nil, func(*loop.Conn) loop.Core { return d })
	if err != nil {
		d.pair.err = err
		d.pair.open--
		return
	}
	d.from = conn
}

// Receive passes p on, and waits while there is no room for more.
func (d *direction) Receive(p []byte) error {
	d.Spliced(len(p))
	d.to.Send(p)
	d.full++
	if len(p) < loop.ReadSize {
		d.full = 0
	}
	if d.full >= spliceAfter && d.from.Splice(d.to) {
		d.full = 0
		return nil
	}
	if d.to.Unsent() > d.to.HighWater() {
		d.from.Pause(true)
		d.pair.limitHit(LimitUnsent)
	}
	return nil
}

// Spliced counts what was relayed.
func (d *direction) Spliced(n int) {
	d.pair.moved = d.pair.worker.Now()
	d.count.Add(uint64(n))
}

// Drained has the other side go on.
func (d *direction) Drained() { d.to.Pause(false) }

// End passes the end of stream on.
func (d *direction) End() error {
	d.to.CloseWrite()
	return nil
}

// Closed passes a reset on.
func (d *direction) Closed(err error) {
	p := d.pair
	p.open--
	if err != nil {
		p.reset(err)
	}
	if p.open == 0 {
		p.end()
	}
}

// reset ends both connections.
func (p *pair) reset(why error) {
	if p.err == nil {
		p.err = why
	}
	for _, d := range []*direction{&p.client, &p.server} {
		if d.from != nil {
			d.from.Abort()
		}
	}
}

func (p *pair) end() {
	p.timer.Stop()
	p.done(p.err)
}

// lookIdle waits for what is left of the time since something has moved.
func (p *pair) lookIdle() {
	left := p.idle - p.worker.Now().Sub(p.moved)
	if left <= 0 {
		p.limitHit(LimitIdle)
		p.reset(ErrIdle)
		return
	}
	p.worker.After(&p.timer, left)
}
