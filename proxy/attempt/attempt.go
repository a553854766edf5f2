// SPDX-License-Identifier: Apache-2.0

// Package attempt decides where a request goes, and whether it may go to
// another endpoint when one did not take it up. It performs no I/O.
package attempt

import (
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
)

// Max is how many endpoints see a request that none has taken up.
const Max = 3

// Dispatcher knows where the requests of one connection may go.
type Dispatcher interface {
	// Pick returns an endpoint that is not among tried, or why there is none. It
	// does not block: reason.Unresolved means that discovery has to be asked.
	Pick(r route.Request, tried []*balance.Endpoint, now time.Time) (*balance.Endpoint, reason.Reason)
	// Wait asks discovery, and calls ready, from any goroutine, when a Pick that
	// said reason.Unresolved may be made again.
	Wait(ready func())
	// Service names the destination in metrics.
	Service() string
}

// Attempts is the way of one request from endpoint to endpoint.
type Attempts struct {
	Dispatcher Dispatcher
	Request    route.Request
	First      *balance.Endpoint // was picked for the client already; may be nil

	tried  []*balance.Endpoint
	count  int
	second bool // the last endpoint has its second chance
	last   reason.Reason
}

// Next returns where the request goes now. Without an endpoint it returns what
// became of the last attempt, or why there was none.
func (a *Attempts) Next(now time.Time) (*balance.Endpoint, reason.Reason) {
	if a.First != nil && a.count == 0 {
		return a.First, reason.None
	}
	e, why := a.Dispatcher.Pick(a.Request, a.tried, now)
	if e == nil && a.last != reason.None && why != reason.Unresolved {
		why = a.last
	}
	return e, why
}

// Failed notes that e did not answer the request, and tells whether it may be
// sent again. An endpoint that ended an old connection has a second chance, on
// a new one.
func (a *Attempts) Failed(e *balance.Endpoint, why reason.Reason, now time.Time) (again bool) {
	a.last = why
	a.count++
	if why == reason.RefusedStream && !a.second {
		a.second = true
	} else {
		a.tried = append(a.tried, e)
		Shun(e, why, now)
	}
	return why.Safe() && a.count < Max
}

// Shun makes others preferred to e for some time, when it was not there.
func Shun(e *balance.Endpoint, why reason.Reason, now time.Time) {
	if why == reason.ConnectRefused || why == reason.ConnectTimeout {
		e.Failed(now)
	}
}
