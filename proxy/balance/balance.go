// SPDX-License-Identifier: Apache-2.0

// Package balance chooses an endpoint for each request, stream or connection.
// The control path builds a new immutable Picker for every new set of
// endpoints; the data path only calls Pick. It performs no I/O and starts no
// goroutine.
package balance

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Endpoint is one address that serves a service. It is shared by all pickers
// that know the address, so that its load survives a change of the set.
type Endpoint struct {
	addr     netip.AddrPort
	active   atomic.Int64
	shunned  atomic.Int64 // Unix nanoseconds; pickers prefer others until then
	failures atomic.Int64 // to connect, in a row

	broken    atomic.Int32 // requests that were taken up and failed, in a row
	ejections atomic.Int32 // that were not made good for by as many answers
}

// NewEndpoint returns an endpoint without load.
func NewEndpoint(addr netip.AddrPort) *Endpoint { return &Endpoint{addr: addr} }

// Addr is where the endpoint listens.
func (e *Endpoint) Addr() netip.AddrPort { return e.addr }

// Active is the number of requests, open streams and connections that were
// acquired and not yet released. An open stream is load until it ends.
func (e *Endpoint) Active() int64 { return e.active.Load() }

// Acquire counts one more request, stream or connection.
func (e *Endpoint) Acquire() { e.active.Add(1) }

// Release ends what Acquire began.
func (e *Endpoint) Release() { e.active.Add(-1) }

// Shun makes pickers prefer other endpoints until then: a dial was refused, or
// timed out. It is no verdict: when every endpoint is shunned, all are used.
func (e *Endpoint) Shun(until time.Time) { e.shunned.Store(until.UnixNano()) }

// Failed shuns an endpoint that could not be reached: for 2 s, and twice as long
// each time that follows, up to 32 s. Failures of attempts that began before
// it was shunned are one.
func (e *Endpoint) Failed(now time.Time) {
	if e.Shunned(now) {
		return
	}
	const longest = 5
	e.Shun(now.Add(time.Second << min(e.failures.Add(1), longest)))
}

// Reached ends what Failed began.
func (e *Endpoint) Reached() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
		e.shunned.Store(0)
	}
}

// Shunned tells whether a Shun is in force.
func (e *Endpoint) Shunned(now time.Time) bool {
	until := e.shunned.Load() // no clock arithmetic for the many that never were
	return until != 0 && !now.IsZero() && now.UnixNano() < until
}

// Request is what a policy may look at.
type Request struct {
	// Now is the time against which shunned endpoints are judged; with the
	// zero time none is shunned.
	Now time.Time
	// Tried lists endpoints that this request must not be sent to again.
	Tried []*Endpoint
}

// Picker is an immutable choice over one set of endpoints. It is safe for
// concurrent use and never blocks.
type Picker interface {
	// Pick returns an endpoint that is not among Tried; false means that
	// none is left.
	Pick(Request) (*Endpoint, bool)
}
