// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// refusals are how an endpoint tells, or does not tell, that it has not acted
// on a request.
var refusals = map[string]func(r *rig, s *fakeStream){
	"refused":   func(_ *rig, s *fakeStream) { s.onReset(message.Reset{Code: message.RefusedStream, Unprocessed: true}) },
	"reset":     func(_ *rig, s *fakeStream) { s.onReset(message.Reset{Code: message.Cancel}) },
	"malformed": func(_ *rig, s *fakeStream) { s.onReset(message.Reset{Code: message.ProtocolError, Malformed: true}) },
	"told": func(r *rig, s *fakeStream) {
		s.onHead(response(503, field("shunt-error", "connect-refused"), field("shunt-error-at", r.at(s))), true)
	},
	"told, with a body": func(r *rig, s *fakeStream) {
		s.onHead(response(503, field("shunt-error", "refused-stream"), field("shunt-error-at", r.at(s))), false)
	},
	"told of what is not safe": func(r *rig, s *fakeStream) {
		s.onHead(response(503, field("shunt-error", "upstream-reset"), field("shunt-error-at", r.at(s))), true)
	},
	"told by another": func(_ *rig, s *fakeStream) {
		s.onHead(response(503, field("shunt-error", "connect-refused"), field("shunt-error-at", "10.0.0.99:80")), true)
	},
	"told by nobody": func(_ *rig, s *fakeStream) {
		s.onHead(response(503, field("shunt-error", "connect-refused")), true)
	},
}

// at is the address of the endpoint that has the stream.
func (r *rig) at(s *fakeStream) string {
	for i, f := range r.servers {
		for _, o := range f.streams {
			if o == s {
				return r.endpoints[i].Addr().String()
			}
		}
	}
	return ""
}

func (r *rig) attempts() (out []*fakeStream) {
	for _, f := range r.servers {
		out = append(out, f.streams...)
	}
	return out
}

// open is the attempt that is under way, or nil.
func (r *rig) open() *fakeStream {
	for _, s := range r.attempts() {
		if !s.over {
			return s
		}
	}
	return nil
}

// TestRetry: a request is sent again only where it provably was not acted on,
// and at most Max times.
func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refusal string
		kind    kind
		method  string
		strip   bool
		sent    []int // attempts, by endpoint
		status  int
		error   string
	}{
		{name: "refused stream has a second chance", refusal: "refused", kind: kindHTTP2, sent: []int{2, 1, 0, 0}, status: 503, error: "refused-stream"},
		{name: "peer's word", refusal: "told", kind: kindHTTP2, sent: []int{1, 1, 1, 0}, status: 503, error: "connect-refused"},
		{name: "peer's word before its body", refusal: "told, with a body", kind: kindHTTP2, sent: []int{2, 1, 0, 0}, status: 503, error: "refused-stream"},
		{name: "reset", refusal: "reset", kind: kindHTTP2, sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-reset"},
		{name: "malformed", refusal: "malformed", kind: kindHTTP2, sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-invalid"},
		{name: "unsafe word", refusal: "told of what is not safe", kind: kindHTTP2, sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-reset"},
		{name: "word of another proxy", refusal: "told by another", kind: kindHTTP2, sent: []int{1, 0, 0, 0}, status: 503, error: "connect-refused"},
		{name: "word without address", refusal: "told by nobody", kind: kindHTTP2, sent: []int{1, 0, 0, 0}, status: 503, error: "connect-refused"},
		{name: "word of an application", refusal: "told", kind: kindHTTP2, strip: true, sent: []int{1, 0, 0, 0}, status: 503, error: ""},
		{name: "stale connection, POST", refusal: "refused", kind: kindHTTP1, method: "POST", sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-reset"},
		{name: "stale connection, PATCH", refusal: "refused", kind: kindHTTP1, method: "PATCH", sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-reset"},
		{name: "stale connection, CONNECT", refusal: "refused", kind: kindHTTP1, method: "CONNECT", sent: []int{1, 0, 0, 0}, status: 503, error: "upstream-reset"},
		{name: "stale connection, GET", refusal: "refused", kind: kindHTTP1, method: "GET", sent: []int{2, 1, 0, 0}, status: 503, error: "refused-stream"},
		{name: "stale connection, DELETE", refusal: "refused", kind: kindHTTP1, method: "DELETE", sent: []int{2, 1, 0, 0}, status: 503, error: "refused-stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.kind, 4, func(o *Options) { o.StripErrors = tt.strip })
			h := request()
			if tt.method != "" {
				h.Method = tt.method
			}
			down := r.request(h, true)
			for s := r.open(); s != nil; s = r.open() {
				r.do(func() { refusals[tt.refusal](r, s) })
			}
			total := 0
			for i, f := range r.servers {
				if total += len(f.streams); len(f.streams) != tt.sent[i] {
					t.Errorf("endpoint %d was sent %d, want %d", i, len(f.streams), tt.sent[i])
				}
			}
			if down.status() != tt.status || down.get("shunt-error") != tt.error || !down.sendEnded {
				t.Errorf("status %d, error %q, ended %t", down.status(), down.get("shunt-error"), down.sendEnded)
			}
			r.wantMetric("requests_total", map[string]int{"5xx": 1})
			if total > 1 {
				r.wantMetric("errors_total", map[string]int{tt.error: 1})
				retries := 0
				for _, n := range r.metrics("retries_total") {
					retries += n
				}
				if retries != total-1 {
					t.Errorf("%d retries are counted for %d attempts", retries, total)
				}
			}
			r.wantIdle()
		})
	}
}

// TestRetrySends: an attempt gets all that the one before got, and what came
// meanwhile.
func TestRetrySends(t *testing.T) {
	refuse := refusals["refused"]
	for _, tt := range []struct {
		name string
		run  func(r *rig) *fakeStream
		body string
		last string // trailer
	}{
		{"no body", func(r *rig) *fakeStream {
			down := r.request(request(), true)
			r.do(func() { refuse(r, r.open()) })
			return down
		}, "", ""},
		{"body", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onData("a", false) })
			r.do(func() { down.onData("b", true) })
			r.do(func() { refuse(r, r.open()) })
			return down
		}, "ab", ""},
		{"body goes on", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onData("a", false) })
			r.do(func() { refuse(r, r.open()) })
			r.do(func() { down.onData("b", false) })
			r.do(func() { refuse(r, r.open()) })
			r.do(func() { down.onData("c", true) })
			return down
		}, "abc", ""},
		{"empty end", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onData("a", false) })
			r.do(func() { down.onData("", true) })
			r.do(func() { refuse(r, r.open()) })
			return down
		}, "a", ""},
		{"trailers", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onData("a", false) })
			r.do(func() {
				h := trailers(field("t", "1"))
				down.onHead(h, true)
				h.Fields[0] = field("t", "overwritten") // it is not Stable
			})
			r.do(func() { refuse(r, r.open()) })
			return down
		}, "a", "1"},
		{"trailers alone", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onHead(trailers(field("t", "1")), true) })
			r.do(func() { refuse(r, r.open()) })
			return down
		}, "", "1"},
		{"64 KiB", func(r *rig) *fakeStream {
			down := r.request(request(), false)
			r.do(func() { down.onData(kb(64), false) })
			r.do(func() { refuse(r, r.open()) })
			r.do(func() { down.onData("", true) })
			return down
		}, kb(64), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 2, nil)
			h := request(field("f", "v"))
			down := tt.run(r)
			up := r.open()
			if up == nil {
				t.Fatalf("no attempt is under way; answer %d %s", down.status(), down.get("shunt-error"))
			}
			if string(up.body) != tt.body || !up.sendEnded || up.get("t") != tt.last {
				t.Errorf("%d bytes, ended %t, trailer %q", len(up.body), up.sendEnded, up.get("t"))
			}
			if got := up.heads[0]; got.Method != h.Method || got.Path != h.Path || got.Authority != h.Authority {
				t.Errorf("head %+v", got)
			}
			if down.credited != down.given {
				t.Errorf("%d of %d bytes are credited", down.credited, down.given)
			}
			r.do(func() { up.onHead(response(200), true) })
			if down.status() != 200 {
				t.Errorf("status %d", down.status())
			}
			r.wantIdle()
		})
	}
}

// TestRequestIsKept: the head of a request that is not Stable is kept for the
// next attempt.
func TestRequestIsKept(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	h := request(field("f", "v"))
	r.request(h, true)
	r.do(func() { h.Path, h.Fields[0] = "/other", field("other", "") })
	r.do(func() { refusals["refused"](r, r.open()) })
	up := r.open()
	if up.head().Path != "/p" || up.get("f") != "v" {
		t.Errorf("sent %+v", up.head())
	}
}

// TestReplayBound: of more than 64 KiB nothing is kept, so that there is no
// other attempt, and that is counted.
func TestReplayBound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  int // KiB, while there is no endpoint
		after   int
		refused int // attempts
		lost    bool
	}{
		{"within", 0, 64, 1, false},
		{"beyond", 0, 65, 1, true},
		{"within, early", 64, 0, 1, false},
		{"beyond, early", 128, 0, 1, true},
		{"grows", 32, 33, 1, true},
		{"twice", 0, 64, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP2, 2, nil)
			r.unresolved = true
			down := r.request(request(), false)
			r.do(func() { down.onData(kb(tt.before), false) })
			if down.credited != 0 {
				t.Errorf("%d bytes are credited with no endpoint", down.credited)
			}
			r.unresolved = false
			r.ready[0]()
			r.do(func() { down.onData(kb(tt.after), false) })
			for range tt.refused {
				r.do(func() { refusals["refused"](r, r.open()) })
			}
			if lost := r.open() == nil; lost != tt.lost {
				t.Fatalf("lost: %t", lost)
			}
			if !tt.lost {
				if got, want := len(r.open().body), (tt.before+tt.after)<<10; got != want {
					t.Errorf("%d bytes, want %d", got, want)
				}
				r.wantMetric("limit_hits_total", nil)
				return
			}
			if down.status() != 503 || down.get("shunt-error") != "refused-stream" {
				t.Errorf("status %d, error %q", down.status(), down.get("shunt-error"))
			}
			r.wantMetric("limit_hits_total", map[string]int{"replay-bytes": 1})
			r.wantMetric("retries_total", nil)
			r.wantIdle()
		})
	}
}

// TestLongBodyWithoutRetry: a body that is too long for another attempt is none
// of the client's business as long as none is needed.
func TestLongBodyWithoutRetry(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(request(), false)
	for range 4 {
		r.do(func() { down.onData(kb(32), false) })
	}
	r.do(func() { down.onData("", true) })
	up := r.open()
	if string(up.body) != strings.Repeat("x", 128<<10) || !up.sendEnded {
		t.Errorf("%d bytes, ended %t", len(up.body), up.sendEnded)
	}
	r.do(func() { up.onHead(response(200), true) })
	r.wantMetric("limit_hits_total", nil)
	r.wantMetric("requests_total", map[string]int{"2xx": 1})
	r.wantIdle()
}

// TestConnectRefused: an endpoint that is not there is shunned, and the request
// goes to the next one.
func TestConnectRefused(t *testing.T) {
	r := newRig(t, kindHTTP2, 3, nil)
	r.do(func() { r.servers[0].room, r.servers[1].room = 0, 0 })
	down := r.request(request(), false)
	r.do(func() { down.onData("ab", true) })
	r.endDial(0, nil, reason.ConnectRefused)
	r.endDial(1, nil, reason.ConnectTimeout)
	up := r.open()
	if up == nil || string(up.body) != "ab" || !up.sendEnded {
		t.Fatalf("third attempt: %+v", up)
	}
	r.do(func() {
		now := r.worker.Now()
		if !r.endpoints[0].Shunned(now) || !r.endpoints[1].Shunned(now) || r.endpoints[2].Shunned(now) {
			t.Error("shunned are others than those that were not there")
		}
		up.onHead(response(204), true)
	})
	r.wantMetric("retries_total", map[string]int{"connect-refused": 1, "connect-timeout": 1})
	r.wantMetric("requests_total", map[string]int{"2xx": 1})
	r.wantMetric("errors_total", nil)
	r.wantIdle()
}
