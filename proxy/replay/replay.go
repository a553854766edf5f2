// SPDX-License-Identifier: Apache-2.0

// Package replay keeps the beginning of a request's body, so that the request
// can be sent to another endpoint. It bounds what it keeps.
package replay

import (
	"io"
	"sync"
)

// MaxBytes is how much of a body is kept.
const MaxBytes = 64 << 10

// Body lets several attempts read one body, one after another. An attempt
// that was given up may still sit in Read: what it gets is kept for the next.
type Body struct {
	reading sync.Mutex // held while src is read; mu never is
	src     io.Reader

	mu       sync.Mutex
	buf      []byte // the body from its beginning, unless final or overflow
	err      error  // of src, after buf
	current  *Attempt
	final    bool // no attempt follows: nothing more is kept
	overflow bool // no attempt can follow
}

// Attempt reads the body from its beginning.
type Attempt struct {
	body *Body
	pos  int // in buf
}

// NewBody keeps the beginning of src.
func NewBody(src io.Reader) *Body { return &Body{src: src} }

// Next hands the body to a new attempt; nil means that its beginning was too
// long to be kept.
func (b *Body) Next() *Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.overflow {
		return nil
	}
	b.current = &Attempt{body: b}
	return b.current
}

// Commit says that no other attempt follows.
func (b *Body) Commit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.final = true
}

// Read returns what is kept, and then what the source has.
func (a *Attempt) Read(p []byte) (int, error) {
	if n, err := a.readKept(p); n > 0 || err != nil {
		return n, err
	}
	a.body.reading.Lock()
	defer a.body.reading.Unlock()
	if n, err := a.readKept(p); n > 0 || err != nil { // by the attempt before, meanwhile
		return n, err
	}
	n, err := a.body.src.Read(p)
	a.keep(p[:n], err)
	return n, err
}

func (a *Attempt) readKept(p []byte) (int, error) {
	a.body.mu.Lock()
	defer a.body.mu.Unlock()
	if a.body.current != a {
		return 0, io.ErrClosedPipe
	}
	if a.pos < len(a.body.buf) {
		n := copy(p, a.body.buf[a.pos:])
		a.pos += n
		return n, nil
	}
	if a.body.final || a.body.overflow {
		a.body.buf, a.pos = nil, 0
	}
	return 0, a.body.err
}

func (a *Attempt) keep(p []byte, err error) {
	a.body.mu.Lock()
	defer a.body.mu.Unlock()
	a.body.err = err
	switch {
	case a.body.current != a: // for the next attempt, whatever its length
		a.body.buf = append(a.body.buf, p...)
	case a.body.final || a.body.overflow:
	case len(a.body.buf)+len(p) > MaxBytes:
		a.body.overflow, a.body.buf, a.pos = true, nil, 0
	default:
		a.body.buf = append(a.body.buf, p...)
		a.pos = len(a.body.buf)
	}
}

// Close does nothing: the body belongs to the server, which closes it.
func (a *Attempt) Close() error { return nil }
