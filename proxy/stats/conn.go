// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"sync/atomic"
)

type connKey struct {
	direction Direction
	kind      Kind
}

// Conn counts connections of one kind, and their bytes.
type Conn struct {
	Received, Sent atomic.Uint64 // bytes from and to clients
	opened, closed atomic.Uint64
}

// Conn returns the counters of connections of a kind.
func (s *Stats) Conn(d Direction, k Kind) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := connKey{d, k}
	c := s.conns[key]
	if c != nil {
		return c
	}
	c = &Conn{}
	s.conns[key] = c
	for metric, value := range map[string]func() uint64{
		"connections_opened_total": c.opened.Load,
		"connections_active":       func() uint64 { return c.opened.Load() - c.closed.Load() },
		"received_bytes_total":     c.Received.Load,
		"sent_bytes_total":         c.Sent.Load,
	} {
		name := fmt.Sprintf("shunt_proxy_%s{direction=%q,kind=%q}", metric, d, k)
		s.set.NewGauge(name, func() float64 { return float64(value()) })
	}
	return c
}

// Open counts one more connection; Close must follow.
func (c *Conn) Open() { c.opened.Add(1) }

// Close ends what Open began.
func (c *Conn) Close() { c.closed.Add(1) }
