// SPDX-License-Identifier: Apache-2.0

package loop

import "time"

const (
	maxSmall  = 128       // buffers of BufferSize
	maxLarge  = 8         // buffers that have outgrown it
	largeSize = 512 << 10 // what is larger is not kept
	trimEvery = time.Second
)

// pool keeps buffers for reuse. What was not needed between two trims goes.
type pool struct {
	worker       *Worker
	small, large shelf
	timer        Timer
	armed        bool
}

// shelf is a stack of buffers.
type shelf struct {
	buffers [][]byte
	unused  int // buffers that have lain here since the last trim
}

func (s *shelf) take() []byte {
	last := len(s.buffers) - 1
	if last < 0 {
		return nil
	}
	b := s.buffers[last]
	s.buffers[last] = nil
	s.buffers = s.buffers[:last]
	s.unused = min(s.unused, last)
	return b
}

func (s *shelf) trim() {
	n := len(s.buffers) - s.unused
	clear(s.buffers[n:])
	s.buffers = s.buffers[:n]
	s.unused = n
}

// get returns an empty buffer with room for n bytes, and for BufferSize.
func (p *pool) get(n int) []byte {
	if n <= BufferSize {
		if b := p.small.take(); b != nil {
			return b
		}
		return make([]byte, 0, BufferSize)
	}
	if b := p.large.take(); cap(b) >= n {
		return b
	}
	size := 2 * BufferSize
	for size < n {
		size *= 2
	}
	return make([]byte, 0, size)
}

// output returns an empty buffer: a large one, if there is one, when the last
// that the connection had was too small.
func (p *pool) output(large bool) []byte {
	if large {
		if b := p.large.take(); b != nil {
			return b
		}
	}
	return p.get(BufferSize)
}

func (p *pool) put(b []byte) {
	switch {
	case cap(b) < BufferSize || cap(b) > largeSize:
		return
	case cap(b) < 2*BufferSize:
		if len(p.small.buffers) < maxSmall {
			p.small.buffers = append(p.small.buffers, b[:0])
		}
	case len(p.large.buffers) < maxLarge:
		p.large.buffers = append(p.large.buffers, b[:0])
	}
	p.arm()
}

// arm has trim be called in a while.
func (p *pool) arm() {
	if !p.armed {
		p.armed = true
		p.worker.After(&p.timer, trimEvery)
	}
}

// trim lets go of what was not needed for a while. It ends when nothing is left.
func (p *pool) trim() {
	p.small.trim()
	p.large.trim()
	p.worker.pipes.trim()
	p.armed = false
	if len(p.small.buffers)+len(p.large.buffers)+p.worker.pipes.open > 0 {
		p.arm()
	}
}
