// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"time"

	"github.com/shuntmesh/shunt/proxy/grpcstatus"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// startDeadline arms the timer of a gRPC call that has a timeout.
func (x *exchange) startDeadline() {
	if !x.call {
		return
	}
	value, ok := x.request.Get("grpc-timeout")
	if !ok {
		return
	}
	d, ok := parseTimeout(value)
	if !ok {
		return // the server refuses it, in its own words
	}
	if x.deadline.F == nil {
		x.deadline.F = x.deadlineExceeded
	}
	x.expires = x.shard.worker.Now().Add(d)
	x.shard.worker.After(&x.deadline, d)
}

// stopDeadline is for what is no call any more.
func (x *exchange) stopDeadline() {
	x.expires = time.Time{}
	x.deadline.Stop()
}

// overdue tells that the timer is about to fire: a server's own, which is told
// the same timeout, may be some milliseconds faster.
func (x *exchange) overdue() bool {
	return !x.expires.IsZero() && !x.shard.worker.Now().Before(x.expires)
}

func (x *exchange) deadlineExceeded() {
	if x.phase == done {
		return
	}
	answered := x.phase == answering
	x.dropAttempt(message.Cancel)
	if answered {
		x.shard.options.Stats.Error(x.shard.options.Direction, reason.DeadlineExceeded)
		x.endWith(grpcstatus.DeadlineExceeded, reason.DeadlineExceeded)
		return
	}
	x.fail(reason.DeadlineExceeded)
}

// parseTimeout reads a grpc-timeout: at most 8 digits and a unit (gRPC over
// HTTP2, "Requests").
func parseTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	var n int64
	for _, c := range []byte(s[:len(s)-1]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	const longest = 24 * time.Hour * 365
	if n > int64(longest/unit) {
		return longest, true
	}
	return time.Duration(n) * unit, true
}
