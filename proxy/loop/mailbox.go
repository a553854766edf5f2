// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// mailbox is the queue of functions that were posted to a worker.
type mailbox struct {
	mu     sync.Mutex
	room   sync.Cond
	queue  []func()
	head   int
	closed bool
	// owner is the goroutine that is the worker just now: it must not wait for
	// itself.
	owner atomic.Uint64
}

func newMailbox() *mailbox {
	m := &mailbox{}
	m.room.L = &m.mu
	return m
}

// put appends f. first means that the worker must be woken for it.
func (m *mailbox) put(f func()) (first, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.full() && !m.closed && m.owner.Load() != goroutine() {
		m.room.Wait()
	}
	if m.closed {
		return false, false
	}
	m.queue = append(m.queue, f)
	return len(m.queue)-m.head == 1, true
}

func (m *mailbox) full() bool { return len(m.queue)-m.head >= postLimit }

// take moves up to n functions to dst, and tells whether there are more.
func (m *mailbox) take(dst []func(), n int) ([]func(), bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full() {
		m.room.Broadcast()
	}
	n = min(n, len(m.queue)-m.head)
	dst = append(dst, m.queue[m.head:m.head+n]...)
	clear(m.queue[m.head : m.head+n]) // it would hold what the functions hold
	m.head += n
	left := len(m.queue) - m.head
	switch {
	case left == 0 && cap(m.queue) > postBatch:
		m.queue, m.head = nil, 0 // an idle worker keeps little
	case m.head >= left:
		m.queue, m.head = slices.Delete(m.queue, 0, m.head), 0
	}
	return dst, left > 0
}

// close has put refuse from now on.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.room.Broadcast()
}

// goroutine is the number of this goroutine. The runtime tells it in traces
// only, which is slow, but nothing else tells whether a worker posts to itself;
// it is asked when a queue is full, and by goroutines as they start.
func goroutine() uint64 {
	var trace [64]byte
	text := trace[:runtime.Stack(trace[:], false)]
	number, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte("goroutine ")), []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64) // 0 is no goroutine
	return n
}
