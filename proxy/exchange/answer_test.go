// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// TestAnswer: heads, body and trailers come through as they are.
func TestAnswer(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(grpcRequest(), true)
	up := r.open()
	r.do(func() { up.onHead(response(103, field("link", "a")), false) })
	r.do(func() { up.onHead(response(102), false) })
	r.do(func() { up.onHead(response(200, field("f", "v")), false) })
	r.do(func() { up.onData("ab", false) })
	r.do(func() { up.onData("cd", false) })
	r.do(func() { up.onHead(trailers(field("grpc-status", "7")), true) })
	var got []int
	for _, h := range down.heads {
		got = append(got, h.Status)
	}
	if len(got) != 4 || got[0] != 103 || got[1] != 102 || got[2] != 200 || down.heads[3].Kind != message.Trailers {
		t.Errorf("heads %v", got)
	}
	if string(down.body) != "abcd" || !down.sendEnded || down.get("grpc-status") != "7" {
		t.Errorf("body %q, ended %t, grpc-status %q", down.body, down.sendEnded, down.get("grpc-status"))
	}
	r.wantMetric("requests_total", map[string]int{"2xx": 1})
	r.wantMetric("grpc_responses_total", map[string]int{"7": 1})
	r.wantIdle()
}

// TestAnswerEnds: however an answer ends, it is counted once.
func TestAnswerEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(up *fakeStream)
		grpc string // status; "" where it is no gRPC
		kind message.Kind
	}{
		{"head", func(up *fakeStream) { up.onHead(response(204), true) }, "", message.Response},
		{"data", func(up *fakeStream) { up.onHead(response(200), false); up.onData("x", true) }, "", message.Response},
		{"empty data", func(up *fakeStream) { up.onHead(response(200), false); up.onData("", true) }, "", message.Response},
		{"trailers", func(up *fakeStream) { up.onHead(response(200), false); up.onHead(trailers(), true) }, "", message.Trailers},
		{"trailers-only", func(up *fakeStream) { up.onHead(response(200, field("grpc-status", "5")), true) }, "5", message.Response},
		{"status missing", func(up *fakeStream) { up.onHead(response(200), false); up.onHead(trailers(), true) }, "none", message.Trailers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 1, nil)
			h := request()
			if tt.grpc != "" {
				h = grpcRequest()
			}
			down := r.request(h, true)
			up := r.open()
			r.do(func() { tt.run(up) })
			if !down.sendEnded || down.head().Kind != tt.kind || up.reset != nil {
				t.Errorf("ended %t, last head %+v, reset %v", down.sendEnded, down.head(), up.reset)
			}
			r.wantMetric("requests_total", map[string]int{"2xx": 1})
			want := map[string]int{}
			if tt.grpc != "" {
				want[tt.grpc] = 1
			}
			r.wantMetric("grpc_responses_total", want)
			r.wantIdle()
		})
	}
}

// TestStripErrors: in front of an application only we use our fields, and what
// we answer ourselves says where.
func TestStripErrors(t *testing.T) {
	for _, strip := range []bool{false, true} {
		r := newRig(t, kindHTTP2, 1, func(o *Options) { o.StripErrors, o.Direction = strip, stats.Inbound })
		down := r.request(grpcRequest(), true)
		ours := []*message.Field{field("shunt-error", "upstream-reset"), field("f", "v"), field("shunt-error-at", "10.0.0.1:80")}
		r.do(func() { r.open().onHead(response(200, ours...), false) })
		check := func(which string) {
			t.Helper()
			if down.get("f") != "v" || (down.get("shunt-error") == "") != strip || (down.get("shunt-error-at") == "") != strip {
				t.Errorf("strip %t, %s: %+v", strip, which, down.head().Fields)
			}
		}
		check("head")
		r.do(func() { r.open().onHead(trailers(ours...), true) })
		check("trailers")

		down = r.request(request(), true)
		r.do(func() { r.open().onReset(message.Reset{Code: message.Cancel}) })
		if got, want := down.get("shunt-error-at"), map[bool]string{true: "10.96.0.1:80"}[strip]; got != want {
			t.Errorf("strip %t: our own error is at %q, want %q", strip, got, want)
		}
		r.wantIdle()
	}
}

// TestFail: what we answer ourselves.
func TestFail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		grpc   bool
		body   string
		length int64
		ends   bool // with its head
	}{
		{"GET", "GET", false, "shunt: upstream-reset\n", 22, false},
		{"HEAD", "HEAD", false, "", 22, true},
		{"gRPC", "POST", true, "", -1, true},
	} {
		r := newRig(t, kindHTTP2, 1, nil)
		h := request()
		if tt.grpc {
			h = grpcRequest()
		}
		h.Method = tt.method
		down := r.request(h, true)
		r.do(func() { r.open().onReset(message.Reset{Code: message.Cancel}) })
		got := down.head()
		if len(down.heads) != 1 || string(down.body) != tt.body || got.ContentLength != tt.length || !down.sendEnded {
			t.Errorf("%s: %d heads, body %q, length %d, ended %t", tt.name, len(down.heads), down.body, got.ContentLength, down.sendEnded)
		}
		if got.GRPC != tt.grpc || down.get("shunt-error") != "upstream-reset" {
			t.Errorf("%s: head %+v", tt.name, got)
		}
		if length := down.get("content-length"); (length == "22") == tt.grpc {
			t.Errorf("%s: content-length %q", tt.name, length)
		}
		r.wantIdle()
	}
}

// TestReached: an endpoint that answers is not shunned any more, and what was
// kept for another is not kept on.
func TestReached(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(request(), false)
	r.do(func() { down.onData("x", false) })
	r.do(func() {
		r.endpoints[0].Failed(r.worker.Now())
		r.open().onHead(response(200), false)
		if r.endpoints[0].Shunned(r.worker.Now()) {
			t.Error("shunned")
		}
		if b := down.h.(*exchange).body.bytes; b != nil {
			t.Errorf("%d bytes are kept", len(b))
		}
	})
}

// TestJudge: the balancer hears of five failures in a row, and of nothing that
// is none.
func TestJudge(t *testing.T) {
	answer := func(status int, fields ...*message.Field) func(*fakeStream) {
		return func(s *fakeStream) { s.onHead(response(status, fields...), true) }
	}
	for _, tt := range []struct {
		name    string
		request func(...*message.Field) *message.Head
		run     func(*fakeStream)
		ejects  bool
	}{
		{"502", request, answer(502), true},
		{"504", request, answer(504), true},
		{"500", request, answer(500), false},
		{"505", request, answer(505), false},
		{"unavailable", grpcRequest, answer(200, field("grpc-status", "14")), true},
		{"internal", grpcRequest, answer(200, field("grpc-status", "13")), false},
		{"no gRPC", request, answer(200, field("grpc-status", "14")), false},
		{"reset", request, func(s *fakeStream) { s.onReset(message.Reset{Code: message.Cancel}) }, true},
		{"reset in the answer", request, func(s *fakeStream) {
			s.onHead(response(200), false)
			s.onReset(message.Reset{Code: message.Cancel})
		}, true},
		{"refused", request, func(s *fakeStream) { refusals["refused"](nil, s) }, false},
		{"invalid", request, func(s *fakeStream) { refusals["malformed"](nil, s) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 1, nil)
			const failures = 5
			for range failures {
				r.request(tt.request(), true)
				for s := r.open(); s != nil; s = r.open() {
					r.do(func() { tt.run(s) })
				}
			}
			want := map[string]int{}
			if tt.ejects {
				want["consecutive-failures"] = 1
			}
			r.wantMetric("ejections_total", want)
			r.wantIdle()
		})
	}
}
