// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll is the driver for Linux. Its descriptor is itself registered with Go's
// netpoller, so that the worker parks like any goroutine that reads.
type epoll struct {
	w      *Worker
	file   *os.File // of fd
	raw    syscall.RawConn
	fd     int
	waking sync.Mutex
	event  int // an eventfd: wake
	events [256]unix.EpollEvent
	ready  int // how many of them are
	wait   func(fd uintptr) bool
	waits  int       // how often wait was called by park: twice means that it parked
	ended  time.Time // the last turn
	byFD   []*Conn
	lastID int32
	armed  time.Time // when park ends for a timer; zero is never
	passed bool      // armed was reached: it must be set anew
}

// eventID is the id of the eventfd; those of connections are positive.
const eventID = 0

// unwatched in Conn.mask: the descriptor is not registered.
const unwatched = 1 << 31

func newDriver(w *Worker, d Driver) (driver, error) {
	switch d {
	case Auto, Epoll:
		return newEpoll(w)
	case Goroutines:
		return newGoroutines(w), nil
	}
	return nil, errUnknownDriver
}

func newEpoll(w *Worker) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(fd, true) // or Go would not poll it
	d := &epoll{w: w, fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	d.wait = func(uintptr) bool {
		d.waits++
		d.ready = d.poll()
		return d.ready > 0
	}
	if d.raw, err = d.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	if err := d.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("nest epoll: %w", err), d.file.Close())
	}
	if d.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), d.file.Close())
	}
	// Edge-triggered, it need not be read.
	if err := d.control(unix.EPOLL_CTL_ADD, d.event, unix.EPOLLIN|unix.EPOLLET, eventID); err != nil {
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

func (d *epoll) wake() {
	d.waking.Lock()
	defer d.waking.Unlock()
	if d.event >= 0 {
		one := [8]byte{1} // in either byte order it is more than nothing
		_, _ = unix.Write(d.event, one[:])
	}
}

func (d *epoll) release() error {
	d.waking.Lock()
	defer d.waking.Unlock()
	err := errors.Join(unix.Close(d.event), d.file.Close())
	d.event = -1 // the number may be another's by now
	return err
}

func (d *epoll) run(ctx context.Context) error {
	d.w.mail.owner.Store(goroutine())
	d.ended = time.Now()
	var err error
	for ctx.Err() == nil && err == nil {
		err = d.turn()
	}
	d.w.begin(time.Now())
	d.w.stop(errors.Join(context.Cause(ctx), err))
	d.w.mail.owner.Store(0)
	return errors.Join(err, d.release())
}

// turn waits for something to do, and does it.
func (d *epoll) turn() error {
	w := d.w
	d.waits = 0
	if w.busy() {
		d.ready = d.poll()
	} else if err := d.park(); err != nil {
		return err
	}
	if now := d.ended; d.waits == 1 || w.busy() {
		w.begin(now) // nothing has passed since: save the clock
	} else {
		w.begin(time.Now())
		w.yielded = w.now
	}
	for i := range d.ready {
		d.dispatch(&d.events[i])
	}
	w.end()
	d.ended = time.Now()
	w.gauge.turn(d.ended.Sub(w.base), d.ended.Sub(w.now))
	if d.ended.Sub(w.yielded) > yieldAfter {
		runtime.Gosched()
		d.ended = time.Now()
		w.yielded = d.ended
	}
	return nil
}

// park waits for events or a timer.
func (d *epoll) park() error {
	d.ready = 0
	d.arm()
	err := d.raw.Read(d.wait)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.armed, d.passed = time.Time{}, true
		d.waits = 0 // it has parked, or will not miss a look at the clock
		d.ready = d.poll()
		return nil
	}
	return err
}

// arm has park end in time for the next timer. A deadline that is too early is
// left alone: most timers are stopped before they are due.
func (d *epoll) arm() {
	next, ok := d.w.nextTimer()
	switch {
	case ok && (d.armed.IsZero() || next.Before(d.armed)):
		d.armed = next
	case d.passed:
		d.armed = time.Time{}
	default:
		return
	}
	d.passed = false
	_ = d.file.SetReadDeadline(d.armed)
}

// poll never blocks, so the scheduler need not know of the call.
func (d *epoll) poll() int {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(d.fd),
			uintptr(unsafe.Pointer(&d.events[0])), uintptr(len(d.events)), 0, 0, 0)
		if errno == 0 {
			return int(n)
		}
		if errno != syscall.EINTR {
			return 0
		}
	}
}

func (d *epoll) dispatch(e *unix.EpollEvent) {
	if e.Pad == eventID {
		d.w.posted = true
		return
	}
	c := d.byFD[e.Fd]
	if c == nil || c.id != e.Pad {
		return // closed in this turn; the descriptor may be another's by now
	}
	if e.Events&unix.EPOLLOUT != 0 {
		d.w.writable(c)
	}
	const broken = unix.EPOLLERR | unix.EPOLLHUP
	switch {
	case e.Events&(unix.EPOLLIN|broken) == 0 || c.has(gone):
	case c.wantsInput():
		d.w.readable(c)
	case e.Events&broken != 0:
		d.w.hangup(c)
	default: // paused: only an event that comes nevertheless costs a call
		d.setMask(c, c.mask&^unix.EPOLLIN)
	}
}

func (d *epoll) adopt(c *Conn, tcp *net.TCPConn) error {
	fd, err := duplicate(tcp)
	if err != nil {
		return err
	}
	d.lastID = max(d.lastID+1, eventID+1)
	if err := d.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN, d.lastID); err != nil {
		_ = unix.Close(fd)
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = tcp.Close() // or Go's epoll would wake for it too
	c.fd, c.id, c.mask = int32(fd), d.lastID, unix.EPOLLIN
	for len(d.byFD) <= fd {
		d.byFD = append(d.byFD, nil)
	}
	d.byFD[fd] = c
	return nil
}

func (d *epoll) watch(c *Conn) {
	mask := c.mask & unix.EPOLLIN
	switch {
	case c.wantsInput():
		mask = unix.EPOLLIN
	case c.has(ended):
		mask = 0
	}
	if c.has(blocked) {
		mask |= unix.EPOLLOUT
	}
	if mask == 0 && c.mask == unwatched {
		return
	}
	d.setMask(c, mask)
}

func (d *epoll) ignore(c *Conn) {
	if c.mask != unwatched {
		_ = d.control(unix.EPOLL_CTL_DEL, int(c.fd), 0, 0)
		c.mask = unwatched
	}
}

func (d *epoll) setMask(c *Conn, mask uint32) {
	if mask == c.mask {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if c.mask == unwatched {
		op = unix.EPOLL_CTL_ADD
	}
	if err := d.control(op, int(c.fd), mask, c.id); err == nil {
		c.mask = mask
	} else {
		c.Abort() // nothing would ever wake it
	}
}

func (d *epoll) control(op, fd int, mask uint32, id int32) error {
	e := unix.EpollEvent{Events: mask, Fd: int32(fd), Pad: id}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(d.fd, op, fd, &e))
}

func (d *epoll) close(c *Conn, reset bool) {
	if reset {
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	d.forget(c)
}

func (d *epoll) forget(c *Conn) {
	d.byFD[c.fd] = nil
	_ = unix.Close(int(c.fd))
}
