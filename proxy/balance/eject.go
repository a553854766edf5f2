// SPDX-License-Identifier: Apache-2.0

package balance

import "time"

// An endpoint that fails this many requests in a row is ejected: shunned for 30 s,
// and for as much longer each time that follows, up to 5 minutes.
const (
	failuresToEject = 5
	firstEjection   = 30 * time.Second
	longestEjection = 5 * time.Minute
)

// Failing notes that the endpoint took a request up and failed it: it reset it,
// or said that it is unavailable. It returns true when that ejects the endpoint.
// As with Shun, an ejected endpoint is used when all are: there is no share of
// endpoints below which ejection would do more harm than good.
func (e *Endpoint) Failing(now time.Time) bool {
	if e.broken.Add(1) < failuresToEject || e.Shunned(now) {
		return false
	}
	e.broken.Store(0)
	e.Shun(now.Add(min(time.Duration(e.ejections.Add(1))*firstEjection, longestEjection)))
	return true
}

// Working notes that the endpoint has answered a request as it should.
func (e *Endpoint) Working() {
	if e.broken.Load() != 0 {
		e.broken.Store(0)
	}
	if e.ejections.Load() != 0 {
		e.ejections.Add(-1)
	}
}
