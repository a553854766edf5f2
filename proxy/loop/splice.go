// SPDX-License-Identifier: Apache-2.0

package loop

import "syscall"

// Spliced is what a Core must have to be the source of Splice.
type Spliced interface {
	Core
	// Spliced tells that n more bytes have left the socket.
	Spliced(n int)
}

const (
	// spliceFew ends splicing when as many reads in a row have given less than
	// spliceLittle: then two calls for each read cost more than copying.
	spliceFew    = 8
	spliceLittle = 64 << 10
)

// source is the state of a connection whose input is spliced.
type source struct {
	to      *Conn // to.from is the connection
	core    Spliced
	waiting bool // for the output of to to be gone
	few     int
}

// pipe is where spliced bytes are until the socket has room for them. It is held
// by the connection that they go to, while there are any.
type pipe struct {
	r, w int
	size int
	held int
}

// Splice has input go to another connection inside the kernel, for as long as
// much comes: Receive is called again when there was little. Nobody else may
// send to that connection meanwhile, and there is no need to pause. False means
// that it can't be done, and that nothing has changed.
func (c *Conn) Splice(to *Conn) bool {
	core, ok := c.core.(Spliced)
	if !ok || c.secure != nil || to.secure != nil || to.from != nil || c.has(gone) || to.has(gone) {
		return false
	}
	w := c.worker
	p := w.pipes.take(w)
	if p == nil {
		return false
	}
	w.pipes.put(p)
	c.source = &source{to: to, core: core, waiting: to.Unsent() > 0}
	to.from = c
	return true
}

// isRefused tells that the system does not splice: a sandbox may forbid it.
func isRefused(err error) bool {
	return err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EPERM //nolint:errorlint // drivers return plain errnos
}

// stopSplicing has Receive be called again.
func (c *Conn) stopSplicing() {
	if c.source != nil {
		c.source.to.from = nil
		c.source = nil
	}
}

// spliceIn moves what the socket has into a pipe for the other connection.
func (w *Worker) spliceIn(c *Conn) {
	s := c.source
	p := w.pipes.take(w)
	if p == nil || s.to.closing != nil {
		c.stopSplicing() // the event comes again
		return
	}
	n, err := w.driver.splice(c, p)
	if n <= 0 {
		w.pipes.put(p)
		switch {
		case err == nil:
			c.stopSplicing()
			w.peerEnded(c)
		case isRefused(err):
			w.pipes.useless = true
			c.stopSplicing()
		case !isAgain(err):
			w.broken(c, err)
		}
		return
	}
	p.held = n
	s.to.pipe = p
	s.to.touch()
	s.waiting = true
	if s.few++; n >= spliceLittle {
		s.few = 0
	}
	c.countReceived(n)
	s.core.Spliced(n)
}

// spliceOut moves the pipe's content into the socket, once.
func (w *Worker) spliceOut(c *Conn) error {
	n, err := w.driver.unsplice(c, c.pipe)
	if err != nil && !isAgain(err) {
		return err
	}
	c.countSent(n)
	if c.pipe.held -= n; c.pipe.held > 0 {
		c.set(blocked)
		return nil
	}
	w.pipes.put(c.pipe)
	c.pipe = nil
	return nil
}

// resume has the connection whose spliced bytes are gone be read again.
func (s *source) resume(c *Conn) {
	s.waiting = false
	if s.few >= spliceFew {
		c.stopSplicing()
	}
	c.worker.driver.watch(c)
}

// dropPipe is for a connection that is closed.
func (c *Conn) dropPipe() {
	c.stopSplicing()
	if c.pipe != nil {
		c.worker.pipes.discard(c.pipe) // what is in it must not reach another
		c.pipe = nil
	}
	if from := c.from; from != nil {
		from.stopSplicing()
		from.touch()
	}
}

// maxPipes bounds the pipes of a worker: a user may have 64 MiB of them in all
// (pipe-user-pages-soft), and all sidecars of a node are one user.
const maxPipes = 16

// pipes keeps pipes for reuse.
type pipes struct {
	free   []*pipe
	open   int // free or not
	unused int // that have lain in free since the last trim
	// useless is set when splicing was refused.
	useless bool
}

// take returns an empty pipe; nil means that there are enough, or no room.
func (ps *pipes) take(w *Worker) *pipe {
	if last := len(ps.free) - 1; last >= 0 {
		p := ps.free[last]
		ps.free[last] = nil
		ps.free = ps.free[:last]
		ps.unused = min(ps.unused, last)
		return p
	}
	if !w.driver.canSplice() || ps.useless || ps.open >= maxPipes {
		return nil
	}
	p := newPipe()
	if p != nil {
		ps.open++
		w.pool.arm()
	}
	return p
}

func (ps *pipes) put(p *pipe) { ps.free = append(ps.free, p) }

func (ps *pipes) discard(p *pipe) {
	p.close()
	ps.open--
}

// trim closes what was not needed for a while.
func (ps *pipes) trim() {
	n := len(ps.free) - ps.unused
	for i, p := range ps.free[n:] {
		ps.discard(p)
		ps.free[n+i] = nil
	}
	ps.free = ps.free[:n]
	ps.unused = n
}
