// SPDX-License-Identifier: Apache-2.0

//go:build unix

package loop

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// goroutines is the driver with a goroutine for each connection, which waits for
// its socket and then is the worker for one turn. A lock makes it the only one.
// No buffer is held and nothing is read while it waits.
type goroutines struct {
	w       *Worker
	mu      sync.Mutex // held during a turn
	signal  chan struct{}
	until   time.Time      // when run looks for timers next
	waiting sync.WaitGroup // for goroutines of connections
}

// readiness is what a connection's goroutines wait for.
type readiness struct {
	tcp    *net.TCPConn
	raw    syscall.RawConn
	events atomic.Int32 // of poll(2), beside errors; deaf: not even those
	kicked bool         // the reader's wait was cut short, for events have changed
	writer bool         // a goroutine waits for room
}

const deaf = -1

func newGoroutines(w *Worker) *goroutines {
	return &goroutines{w: w, signal: make(chan struct{}, 1)}
}

func (d *goroutines) wake() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// begin makes the goroutine with the number id the worker.
func (d *goroutines) begin(id uint64) {
	d.mu.Lock()
	d.w.mail.owner.Store(id)
	d.w.begin(time.Now())
}

func (d *goroutines) end() {
	w := d.w
	w.end()
	if next, ok := w.nextTimer(); w.busy() || ok && next.Before(d.until) {
		d.wake() // there is something for run
	}
	now := time.Now()
	w.gauge.turn(now.Sub(w.base), now.Sub(w.now))
	w.mail.owner.Store(0)
	d.mu.Unlock()
}

// run has turns for what does not come from sockets.
func (d *goroutines) run(ctx context.Context) error {
	id := goroutine()
	timer := time.NewTimer(d.sleep())
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-d.signal:
		case <-timer.C:
		}
		d.begin(id)
		d.w.posted = true
		d.end()
		timer.Reset(d.sleep())
	}
	d.begin(id)
	d.w.stop(context.Cause(ctx))
	d.w.mail.owner.Store(0)
	d.mu.Unlock()
	d.waiting.Wait()
	return nil
}

// sleep is how long run may wait.
func (d *goroutines) sleep() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.until = now.Add(longest)
	if next, ok := d.w.nextTimer(); ok {
		d.until = next
	}
	return d.until.Sub(now)
}

func (d *goroutines) adopt(c *Conn, tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	_ = tcp.SetNoDelay(true)
	c.ready = &readiness{tcp: tcp, raw: raw}
	c.ready.events.Store(unix.POLLIN)
	d.waiting.Go(func() { d.reader(c) })
	return nil
}

// reader gives the connection a turn each time that its socket is ready.
func (d *goroutines) reader(c *Conn) {
	r, id := c.ready, goroutine()
	var got int16
	isReady := func(fd uintptr) bool {
		got = poll(fd, r.events.Load())
		return got != 0
	}
	for open := true; open; {
		err := r.raw.Read(isReady)
		d.begin(id)
		switch {
		case c.has(gone):
		case r.kicked:
			r.kicked = false
			_ = r.tcp.SetReadDeadline(time.Time{})
		case err != nil:
			d.w.broken(c, err)
		default:
			d.ready(c, got)
		}
		open = !c.has(gone)
		d.end()
	}
}

func (d *goroutines) ready(c *Conn, got int16) {
	switch {
	case c.wantsInput():
		d.w.readable(c)
	case got&(unix.POLLERR|unix.POLLHUP) != 0:
		d.w.hangup(c)
	default:
		c.ready.events.Store(0)
	}
}

// poll asks which events a descriptor has just now.
func poll(fd uintptr, events int32) int16 {
	if events == deaf {
		return 0
	}
	one := [1]unix.PollFd{{Fd: int32(fd), Events: int16(events)}}
	if n, err := unix.Poll(one[:], 0); n > 0 && err == nil {
		return one[0].Revents
	}
	return 0
}

func (d *goroutines) watch(c *Conn) {
	r := c.ready
	was, want := r.events.Load(), int32(0)
	if c.wantsInput() {
		want = unix.POLLIN
	}
	if want == unix.POLLIN && was != want {
		r.kicked = true
		_ = r.tcp.SetReadDeadline(time.Unix(1, 0))
	}
	if want == unix.POLLIN || c.has(ended) && was != deaf {
		r.events.Store(want)
	}
	if c.has(blocked) && !r.writer {
		r.writer = true
		d.waiting.Go(func() { d.writer(c) })
	}
}

// writer waits for room, once.
func (d *goroutines) writer(c *Conn) {
	id := goroutine()
	err := c.ready.raw.Write(func(fd uintptr) bool { return poll(fd, unix.POLLOUT) != 0 })
	d.begin(id)
	c.ready.writer = false
	switch {
	case c.has(gone):
	case err != nil:
		d.w.broken(c, err)
	default:
		d.w.writable(c)
	}
	d.end()
}

func (d *goroutines) ignore(c *Conn) { c.ready.events.Store(deaf) }
