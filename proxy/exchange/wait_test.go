// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// TestWait: discovery may answer late, more than once, when nobody waits any
// more, and with nothing.
func TestWait(t *testing.T) {
	gone := message.Reset{Code: message.Cancel}
	for _, tt := range []struct {
		name   string
		run    func(r *rig, down *fakeStream)
		status int
		sent   int
	}{
		{"once", func(r *rig, _ *fakeStream) {
			r.unresolved = false
			r.ready[0]()
		}, 200, 1},
		{"twice", func(r *rig, _ *fakeStream) {
			r.unresolved = false
			r.ready[0]()
			r.ready[0]()
		}, 200, 1},
		{"late, once more", func(r *rig, _ *fakeStream) {
			r.ready[0]()
			r.do(func() {})
			r.unresolved = false
			r.ready[0]() // that one is over
			r.do(func() {})
			if s := r.open(); s != nil {
				r.Errorf("an answer that had come already counts")
			}
			r.ready[1]()
		}, 200, 1},
		{"with nothing", func(r *rig, _ *fakeStream) {
			r.unresolved, r.endpoints = false, nil
			r.ready[0]()
			r.ready[0]()
		}, 503, 0},
		{"client has gone", func(r *rig, down *fakeStream) {
			r.do(func() { down.onReset(gone) })
			r.unresolved = false
			r.ready[0]()
		}, 0, 0},
		{"exchange is another's", func(r *rig, down *fakeStream) {
			r.do(func() { down.onReset(gone) })
			next := r.request(request(), true) // waits, too
			r.unresolved = false
			r.ready[0]()
			r.do(func() {})
			if s := r.open(); s != nil {
				r.Errorf("an answer to the one before counts")
			}
			r.ready[1]()
			r.do(func() {})
			if s := r.open(); s == nil {
				r.Errorf("an answer does not count")
			}
			r.do(func() { next.onReset(gone) })
		}, 0, 1},
		{"between attempts", func(r *rig, _ *fakeStream) {
			r.unresolved = false
			r.ready[0]()
			r.do(func() {})
			r.unresolved = true
			r.do(func() { refusals["refused"](r, r.open()) })
			r.ready[0]()
			r.do(func() {})
			if s := r.open(); s != nil {
				r.Errorf("the answer of the first time counts")
			}
			r.unresolved = false
			r.ready[1]()
		}, 200, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 1, nil)
			r.unresolved = true
			down := r.request(request(), true)
			tt.run(r, down)
			r.do(func() {})
			if len(r.attempts()) != tt.sent {
				t.Errorf("%d attempts, want %d", len(r.attempts()), tt.sent)
			}
			if s := r.open(); s != nil {
				r.do(func() { s.onHead(response(200), true) })
			}
			if down.status() != tt.status {
				t.Errorf("status %d, want %d", down.status(), tt.status)
			}
			if tt.status == 503 {
				r.wantMetric("errors_total", map[string]int{string(reason.NoEndpoints): 1})
			}
			r.wantIdle()
		})
	}
}
