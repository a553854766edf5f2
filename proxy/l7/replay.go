// SPDX-License-Identifier: Apache-2.0

package l7

import (
	"io"
	"sync"
)

// maxReplay is how much of a request's body is kept for another endpoint.
const maxReplay = 64 << 10

// replay lets several attempts read one body, one after another. An attempt
// that was given up may still sit in Read: what it gets is kept for the next.
type replay struct {
	reading sync.Mutex // held while src is read; mu never is
	src     io.Reader

	mu       sync.Mutex
	buf      []byte // the body from its beginning, unless final or overflow
	err      error  // of src, after buf
	current  *attempt
	final    bool // no attempt follows: nothing more is kept
	overflow bool // no attempt can follow
}

type attempt struct {
	*replay
	pos int // in buf
}

// next hands the body to a new attempt; nil means that its beginning was too
// long to be kept.
func (r *replay) next() *attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overflow {
		return nil
	}
	r.current = &attempt{replay: r}
	return r.current
}

// commit says that no other attempt follows.
func (r *replay) commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.final = true
}

func (a *attempt) Read(p []byte) (int, error) {
	if n, err := a.readKept(p); n > 0 || err != nil {
		return n, err
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	if n, err := a.readKept(p); n > 0 || err != nil { // by the attempt before, meanwhile
		return n, err
	}
	n, err := a.src.Read(p)
	a.keep(p[:n], err)
	return n, err
}

func (a *attempt) readKept(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != a {
		return 0, io.ErrClosedPipe
	}
	if a.pos < len(a.buf) {
		n := copy(p, a.buf[a.pos:])
		a.pos += n
		return n, nil
	}
	if a.final || a.overflow {
		a.buf, a.pos = nil, 0
	}
	return 0, a.err
}

func (a *attempt) keep(p []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	switch {
	case a.current != a: // for the next attempt, whatever its length
		a.buf = append(a.buf, p...)
	case a.final || a.overflow:
	case len(a.buf)+len(p) > maxReplay:
		a.overflow, a.buf, a.pos = true, nil, 0
	default:
		a.buf = append(a.buf, p...)
		a.pos = len(a.buf)
	}
}

// Close does nothing: the body belongs to the server, which closes it.
func (a *attempt) Close() error { return nil }
