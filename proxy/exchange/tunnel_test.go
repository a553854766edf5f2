// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/message"
)

// tunnels are the ways to one.
var tunnels = []struct {
	name   string
	kind   kind
	method string
	proto  string
	end    bool // of the request that asks for it
	status int
}{
	{"upgrade", kindHTTP1, "GET", "websocket", true, 101},
	{"CONNECT, HTTP/1", kindHTTP1, "CONNECT", "", false, 200},
	{"CONNECT", kindHTTP2, "CONNECT", "", false, 200},
	{"extended CONNECT", kindHTTP2, "CONNECT", "websocket", false, 200},
}

// TestTunnel: each direction of a tunnel ends by itself, in either order, and
// nothing is lost that is on its way.
func TestTunnel(t *testing.T) {
	for _, tt := range tunnels {
		for _, order := range []string{"client first", "endpoint first", "client first, held up", "endpoint first, held up"} {
			t.Run(tt.name+", "+order, func(t *testing.T) {
				r := newRig(t, tt.kind, 1, nil)
				h := request()
				h.Method, h.Protocol = tt.method, tt.proto
				down := r.request(h, tt.end)
				up := r.open()
				r.do(func() { up.onHead(response(tt.status), false) })
				r.do(func() { up.onData("from the endpoint", false) })
				r.do(func() { down.onData("from the client", false) })
				heldUp := len(order) > len("endpoint first")
				up.full, down.full = heldUp, heldUp
				fromClient := func() { r.do(func() { down.onData(", end", true) }) }
				fromEndpoint := func() { r.do(func() { up.onData(", end", true) }) }
				if order[0] == 'c' {
					fromClient()
					if active := r.endpoints[0].Active(); active != 1 || down.sendEnded {
						t.Errorf("after the client's end: active %d, other direction ended %t", active, down.sendEnded)
					}
					fromEndpoint()
				} else {
					fromEndpoint()
					if active := r.endpoints[0].Active(); active != 1 || up.sendEnded {
						t.Errorf("after the endpoint's end: active %d, other direction ended %t", active, up.sendEnded)
					}
					fromClient()
				}
				if heldUp && r.endpoints[0].Active() != 1 {
					t.Error("no load while the endpoint must get the rest")
				}
				r.do(func() { up.drain() })
				r.do(func() { down.drain() })
				if string(down.body) != "from the endpoint, end" || string(up.body) != "from the client, end" {
					t.Errorf("client got %q, endpoint %q", down.body, up.body)
				}
				if up.reset != nil || down.reset != nil || !up.sendEnded || !down.sendEnded {
					t.Errorf("reset: %v, %v, ended: %t, %t", up.reset, down.reset, up.sendEnded, down.sendEnded)
				}
				if down.credited != down.given || up.credited != up.given {
					t.Errorf("client: %d of %d bytes are credited, endpoint: %d of %d", down.credited, down.given, up.credited, up.given)
				}
				r.wantMetric("requests_total", map[string]int{string('0'+rune(tt.status/100)) + "xx": 1})
				r.wantMetric("errors_total", nil)
				r.wantIdle()
			})
		}
	}
}

// TestTunnelOfEndedRequest: of CONNECT on HTTP/2 the request may have ended the
// client's direction before there is a tunnel.
func TestTunnelOfEndedRequest(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	h := request()
	h.Method = "CONNECT"
	down := r.request(h, true)
	up := r.open()
	r.do(func() { up.onHead(response(200), false) })
	r.do(func() { up.onData("x", true) })
	if up.reset != nil || !down.sendEnded {
		t.Errorf("reset %v, ended %t", up.reset, down.sendEnded)
	}
	r.wantIdle()
}

// TestTunnelTrailers: they end a direction as well.
func TestTunnelTrailers(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	h := request()
	h.Method = "CONNECT"
	down := r.request(h, false)
	up := r.open()
	r.do(func() { up.onHead(response(200), false) })
	r.do(func() { up.onHead(trailers(field("t", "1")), true) })
	r.do(func() { down.onHead(trailers(field("t", "2")), true) })
	if up.get("t") != "2" || down.get("t") != "1" {
		t.Errorf("client got %q, endpoint %q", down.get("t"), up.get("t"))
	}
	r.wantIdle()
}

// TestTunnelLeft: an endpoint that has ended its direction takes no more of the
// client's. The client has all, is told so, and nothing counts as a failure.
func TestTunnelLeft(t *testing.T) {
	for _, heldUp := range []bool{false, true} {
		r := newRig(t, kindHTTP2, 1, nil)
		h := request()
		h.Method, h.Protocol = "CONNECT", "websocket"
		down := r.request(h, false)
		up := r.open()
		r.do(func() { up.onHead(response(200), false) })
		down.full = heldUp
		r.do(func() { up.onData("the last word", true) })
		r.do(func() { up.onReset(message.Reset{Code: message.NoError}) })
		if string(down.body) != "the last word" || !down.sendEnded {
			t.Errorf("held up %t: the client got %q, ended %t", heldUp, down.body, down.sendEnded)
		}
		if heldUp == (down.reset != nil) || down.reset != nil && *down.reset != message.NoError {
			t.Errorf("held up %t: the client was reset: %v", heldUp, down.reset)
		}
		r.wantMetric("requests_total", map[string]int{"2xx": 1})
		r.wantMetric("errors_total", nil)
		if active := r.endpoints[0].Active(); active != 0 {
			t.Errorf("held up %t: %d active", heldUp, active)
		}
	}
}

// TestNoTunnel: CONNECT that was refused is an answer like any other.
func TestNoTunnel(t *testing.T) {
	for _, tt := range tunnels {
		r := newRig(t, tt.kind, 1, nil)
		h := request()
		h.Method, h.Protocol = tt.method, tt.proto
		down := r.request(h, tt.end)
		status := 403
		if tt.status == 101 {
			status = 200
		}
		r.do(func() { r.open().onHead(response(status), true) })
		if down.status() != status {
			t.Errorf("%s: status %d", tt.name, down.status())
		}
		r.wantIdle()
	}
}

// TestTunnelCutOff: what ends one direction by force ends the other.
func TestTunnelCutOff(t *testing.T) {
	for _, half := range []string{"none", "client", "endpoint"} {
		for _, by := range []string{"client", "endpoint"} {
			t.Run(half+" ended, cut off by "+by, func(t *testing.T) {
				r := newRig(t, kindHTTP2, 1, nil)
				h := request()
				h.Method = "CONNECT"
				down := r.request(h, false)
				up := r.open()
				r.do(func() { up.onHead(response(200), false) })
				switch half {
				case "client":
					r.do(func() { down.onData("x", true) })
				case "endpoint":
					r.do(func() { up.onData("x", true) })
				}
				if by == "client" {
					r.do(func() { down.onReset(message.Reset{Code: message.Cancel}) })
					if up.reset == nil {
						t.Error("the endpoint's stream is not reset")
					}
				} else {
					r.do(func() { up.onReset(message.Reset{Code: message.Cancel}) })
					if down.reset == nil {
						t.Error("the client's stream is not reset")
					}
				}
				r.wantMetric("requests_total", map[string]int{"2xx": 1})
				r.wantIdle()
			})
		}
	}
}

// TestTunnelOutlivesClient: what the endpoint has no room for yet keeps the
// exchange, but not the client's stream, which has ended and may be another's.
func TestTunnelOutlivesClient(t *testing.T) {
	for _, slow := range []bool{false, true} {
		for _, how := range []string{"drained", "reset"} {
			t.Run(how, func(t *testing.T) {
				r := newRig(t, kindHTTP2, 1, nil)
				h := grpcRequest(field("grpc-timeout", "20m"))
				h.Method = "CONNECT"
				down := r.request(h, false)
				up := r.open()
				r.do(func() { up.onHead(response(200), false) })
				up.full, down.full = true, slow
				r.do(func() { up.onData("ab", true) })
				r.do(func() { down.onData("ab", true) })
				r.do(func() { down.drain() })
				if !down.over || r.endpoints[0].Active() != 1 || down.credited != 2 {
					t.Errorf("client's stream over %t, active %d, %d bytes are credited", down.over, r.endpoints[0].Active(), down.credited)
				}
				time.Sleep(40 * time.Millisecond) // a tunnel is no call
				if how == "reset" {
					r.do(func() { up.onReset(message.Reset{Code: message.Cancel}) })
				} else {
					r.do(func() { up.drain() })
				}
				r.wantMetric("requests_total", map[string]int{"2xx": 1})
				r.wantMetric("grpc_responses_total", nil)
				r.wantIdle()
			})
		}
	}
}

// TestUpgradeIsNoCall: a tunnel outlives the deadline of what asked for it, and
// the end of that, though the client says nothing.
func TestUpgradeIsNoCall(t *testing.T) {
	r := newRig(t, kindHTTP1, 1, nil)
	h := grpcRequest(field("grpc-timeout", "20m"))
	h.Method, h.Protocol = "GET", "websocket"
	down := r.request(h, true)
	up := r.open()
	r.do(func() { up.onHead(response(101), false) })
	time.Sleep(50 * time.Millisecond)
	r.do(func() { up.onData("x", true) })
	if up.sendEnded || r.endpoints[0].Active() != 1 {
		t.Errorf("ended %t, active %d", up.sendEnded, r.endpoints[0].Active())
	}
	r.do(func() { down.onData("y", true) })
	if string(up.body) != "y" || up.reset != nil || down.reset != nil {
		t.Errorf("endpoint got %q; reset: %v, %v", up.body, up.reset, down.reset)
	}
	r.wantIdle()
}
