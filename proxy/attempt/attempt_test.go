// SPDX-License-Identifier: Apache-2.0

package attempt_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
)

// inOrder picks the first that was not tried.
type inOrder []*balance.Endpoint

func (o inOrder) Pick(_ route.Request, tried []*balance.Endpoint, _ time.Time) (*balance.Endpoint, reason.Reason) {
	for _, e := range o {
		if !slices.Contains(tried, e) {
			return e, reason.None
		}
	}
	return nil, reason.NoEndpoints
}

func (o inOrder) Wait(func()) {}

func (o inOrder) Service() string { return "greeter:80" }

func newSet(n int) inOrder {
	var set inOrder
	for i := range n {
		set = append(set, balance.NewEndpoint(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i+1))))
	}
	return set
}

func TestAttempts(t *testing.T) {
	tests := []struct {
		name      string
		endpoints int
		outcomes  []reason.Reason
		ports     []uint16 // where the request went
		want      reason.Reason
	}{
		{"taken", 2, nil, []uint16{1}, reason.None},
		{"refused once", 2, []reason.Reason{reason.ConnectRefused}, []uint16{1, 2}, reason.None},
		{"all refused", 2, []reason.Reason{reason.ConnectRefused, reason.ConnectTimeout}, []uint16{1, 2}, reason.ConnectTimeout},
		{"three times at most", 5, []reason.Reason{reason.ConnectRefused, reason.ConnectRefused, reason.ConnectRefused}, []uint16{1, 2, 3}, reason.ConnectRefused},
		{"old connection", 2, []reason.Reason{reason.RefusedStream}, []uint16{1, 1}, reason.None},
		{"old connection, new one too", 2, []reason.Reason{reason.RefusedStream, reason.RefusedStream}, []uint16{1, 1, 2}, reason.None},
		{"may have been seen", 2, []reason.Reason{reason.UpstreamReset}, []uint16{1}, reason.UpstreamReset},
		{"no endpoint", 0, nil, nil, reason.NoEndpoints},
	}
	for _, tt := range tests {
		a := &attempt.Attempts{Dispatcher: newSet(tt.endpoints)}
		var ports []uint16
		why := reason.None
		for {
			var e *balance.Endpoint
			if e, why = a.Next(time.Unix(1000, 0)); e == nil {
				break
			}
			ports = append(ports, e.Addr().Port())
			if len(tt.outcomes) == 0 {
				break
			}
			why, tt.outcomes = tt.outcomes[0], tt.outcomes[1:]
			if !a.Failed(e, why, time.Unix(1000, 0)) {
				break
			}
		}
		if !slices.Equal(ports, tt.ports) || why != tt.want {
			t.Errorf("%s: went to %v and ended with %q; want %v and %q", tt.name, ports, why, tt.ports, tt.want)
		}
	}
}

func TestFirstAndShun(t *testing.T) {
	set := newSet(2)
	a := &attempt.Attempts{Dispatcher: set, First: set[1]}
	e, _ := a.Next(time.Unix(1000, 0))
	if e != set[1] {
		t.Fatalf("went to %v", e.Addr())
	}
	now := time.Unix(1000, 0)
	a.Failed(e, reason.ConnectRefused, now)
	if e, _ := a.Next(time.Unix(1000, 0)); e != set[0] {
		t.Errorf("went to %v next", e.Addr())
	}
	if !e.Shunned(now.Add(time.Second)) || e.Shunned(now.Add(3*time.Second)) {
		t.Error("an endpoint that refused is not shunned for 2 s")
	}
}
