// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// phases bring a gRPC call, or another request, as far as their name says.
var phases = []struct {
	name string
	at   func(r *rig, h *message.Head) *fakeStream
}{
	{"picking", func(r *rig, h *message.Head) *fakeStream {
		r.unresolved = true
		return r.request(h, false)
	}},
	{"connecting", func(r *rig, h *message.Head) *fakeStream {
		r.do(func() { r.servers[0].room = 0 })
		return r.request(h, false)
	}},
	{"connecting again", func(r *rig, h *message.Head) *fakeStream {
		down := r.request(h, false)
		r.do(func() { r.servers[0].room = 0; refusals["refused"](r, r.open()) })
		return down
	}},
	{"sent", func(r *rig, h *message.Head) *fakeStream { return r.request(h, false) }},
	{"sent in part", func(r *rig, h *message.Head) *fakeStream {
		r.servers[0].full = true
		down := r.request(h, false)
		r.do(func() { down.onData("ab", false) })
		return down
	}},
	{"sent all", func(r *rig, h *message.Head) *fakeStream {
		down := r.request(h, false)
		r.do(func() { down.onData("ab", true) })
		return down
	}},
	{"informed", func(r *rig, h *message.Head) *fakeStream {
		down := r.request(h, false)
		r.do(func() { r.open().onHead(response(103), false) })
		return down
	}},
	{"answering", func(r *rig, h *message.Head) *fakeStream {
		down := r.request(h, false)
		r.do(func() { r.open().onHead(response(200), false) })
		return down
	}},
	{"answering, held up", func(r *rig, h *message.Head) *fakeStream {
		down := r.request(h, false)
		r.do(func() { r.open().onHead(response(200), false) })
		r.do(func() { down.full = true; r.open().onData("ab", false) })
		return down
	}},
}

func hasAnswer(phase string) bool { return phase[:3] == "ans" }

// TestClientReset: a client that goes takes everything of its request along,
// and the endpoint's balancer is not told anything.
func TestClientReset(t *testing.T) {
	for _, tt := range phases {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 1, nil)
			down := tt.at(r, request())
			up := r.open()
			r.do(func() { down.onReset(message.Reset{Code: message.Cancel}) })
			if up != nil && (up.reset == nil || *up.reset != message.Cancel) {
				t.Errorf("the endpoint's stream got %v", up.reset)
			}
			r.wantIdle()
			for _, ready := range r.ready { // discovery does not know
				ready()
			}
			r.do(func() {})
			if s := r.open(); s != nil {
				t.Errorf("a stream is open: %+v", s)
			}
			r.wantMetric("errors_total", nil)
			want := map[string]int{}
			if hasAnswer(tt.name) {
				want["2xx"] = 1
			}
			r.wantMetric("requests_total", want)
			r.do(func() {
				if n := len(r.shard.free); n != 1 {
					t.Errorf("%d exchanges are free", n)
				}
			})
		})
	}
}

// TestEndpointReset: before the answer it is an error of ours; thereafter the
// client can be told only by gRPC's status, or by a reset.
func TestEndpointReset(t *testing.T) {
	for _, tt := range phases {
		for _, grpc := range []bool{false, true} {
			name, h := tt.name, request()
			if grpc {
				name, h = name+", gRPC", grpcRequest()
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, kindHTTP2, 1, nil)
				down := tt.at(r, h)
				if r.open() == nil {
					return // no stream to be reset
				}
				r.do(func() { r.open().onReset(message.Reset{Code: message.Cancel}) })
				r.do(func() { down.drain() })
				status, class := 503, "5xx"
				switch {
				case grpc:
					status, class = 200, "2xx"
					want := "14"
					if hasAnswer(tt.name) {
						want = "1"
					}
					if got := down.get("grpc-status"); got != want || !down.sendEnded {
						t.Errorf("grpc-status %q, want %q, ended %t", got, want, down.sendEnded)
					}
					r.wantMetric("grpc_responses_total", map[string]int{want: 1})
				case hasAnswer(tt.name):
					status, class = 200, "2xx"
					if down.reset == nil || *down.reset != message.InternalError || down.sendEnded {
						t.Errorf("reset %v, ended %t", down.reset, down.sendEnded)
					}
				}
				if down.status() != status || (down.reset == nil && down.get("shunt-error") != "upstream-reset") {
					t.Errorf("status %d, error %q", down.status(), down.get("shunt-error"))
				}
				r.wantMetric("requests_total", map[string]int{class: 1})
				r.wantMetric("errors_total", map[string]int{"upstream-reset": 1})
				r.wantIdle()
			})
		}
	}
}

// TestEndpointResetCode: gRPC's status tells what the endpoint's reset told.
func TestEndpointResetCode(t *testing.T) {
	for code, want := range map[message.Code]string{
		message.NoError: "14", message.RefusedStream: "14", message.Cancel: "1", message.EnhanceYourCalm: "8",
		message.InternalError: "13",
	} {
		r := newRig(t, kindHTTP2, 1, nil)
		down := r.request(grpcRequest(), true)
		r.do(func() { r.open().onHead(response(200), false) })
		r.do(func() { r.open().onReset(message.Reset{Code: code, Unprocessed: code == message.RefusedStream}) })
		if got := down.get("grpc-status"); got != want || down.head().Kind != message.Trailers {
			t.Errorf("%v: grpc-status %q, want %q", code, got, want)
		}
		r.wantIdle()
	}
}

// TestBrokenHTTP1: gRPC or not, HTTP/1 ends a cut-off answer by the connection.
func TestBrokenHTTP1(t *testing.T) {
	r := newRig(t, kindHTTP1, 1, nil)
	down := r.request(grpcRequest(), true)
	r.do(func() { r.open().onHead(response(200), false) })
	r.do(func() { r.open().onReset(message.Reset{Code: message.InternalError}) })
	if down.reset == nil || down.sendEnded {
		t.Errorf("reset %v, ended %t", down.reset, down.sendEnded)
	}
	r.wantIdle()
}

// TestDeadline: a call whose time is over has its answer at once, and the
// endpoint is told to stop.
func TestDeadline(t *testing.T) {
	for _, tt := range phases {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 1, nil)
			down := tt.at(r, grpcRequest(field("grpc-timeout", "20m")))
			up := r.open()
			r.eventually("the deadline", func() (over bool) {
				r.do(func() { over = down.sendEnded })
				return over
			})
			if up != nil && (up.reset == nil || *up.reset != message.Cancel) {
				t.Errorf("the endpoint's stream got %v", up.reset)
			}
			kind := message.Response
			if hasAnswer(tt.name) {
				kind = message.Trailers
			}
			if h := down.head(); h.Kind != kind || down.get("grpc-status") != "4" || down.get("shunt-error") != "deadline-exceeded" {
				t.Errorf("kind %d, grpc-status %q, error %q", h.Kind, down.get("grpc-status"), down.get("shunt-error"))
			}
			r.wantMetric("requests_total", map[string]int{"2xx": 1})
			r.wantMetric("grpc_responses_total", map[string]int{"4": 1})
			r.wantMetric("errors_total", map[string]int{"deadline-exceeded": 1})
			r.do(func() { down.drain() })
			r.wantIdle()
		})
	}
}

// TestDeadlineOfServer: one that is told the same timeout may end the call just
// before the timer does.
func TestDeadlineOfServer(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(grpcRequest(field("grpc-timeout", "1n")), true)
	time.Sleep(time.Millisecond)
	r.do(func() {
		if up := r.open(); up != nil { // else it was the timer
			up.onReset(message.Reset{Code: message.Cancel})
		}
	})
	if down.get("grpc-status") != "4" || down.get("shunt-error") != "deadline-exceeded" {
		t.Errorf("grpc-status %q, error %q", down.get("grpc-status"), down.get("shunt-error"))
	}
	r.wantMetric("errors_total", map[string]int{"deadline-exceeded": 1})
	r.wantIdle()
}

// TestDeadlineIsOff: a deadline ends with its call, and only gRPC has one.
func TestDeadlineIsOff(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(grpcRequest(field("grpc-timeout", "30m")), true)
	r.do(func() { r.open().onHead(response(200, field("grpc-status", "0")), true) })
	other := r.request(request(field("grpc-timeout", "1m")), true)
	bad := r.request(grpcRequest(field("grpc-timeout", "soon")), true)
	time.Sleep(60 * time.Millisecond)
	r.do(func() {
		if len(down.heads) != 1 || other.head() != nil || bad.head() != nil {
			t.Errorf("%d heads, %v, %v", len(down.heads), other.head(), bad.head())
		}
	})
	r.wantMetric("errors_total", nil)
}

// TestDialFails: requests that wait for a connection that can't be made.
func TestDialFails(t *testing.T) {
	for _, why := range []reason.Reason{reason.ConnectRefused, reason.ConnectTimeout, reason.SourceMissing, reason.NoDescriptors} {
		r := newRig(t, kindHTTP2, 1, nil)
		r.do(func() { r.servers[0].room = 0 })
		down := r.request(request(), true)
		r.endDial(0, nil, why)
		if down.status() != 503 || down.get("shunt-error") != string(why) {
			t.Errorf("%s: status %d, error %q", why, down.status(), down.get("shunt-error"))
		}
		r.wantMetric("errors_total", map[string]int{string(why): 1})
		r.wantIdle()
	}
}
