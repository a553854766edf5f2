// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestCreditClient: the client gets its window back when the endpoint has room,
// not before.
func TestCreditClient(t *testing.T) {
	r := newRig(t, kindHTTP2, 2, nil)
	r.unresolved = true
	down := r.request(request(), false)
	credited := func(want int) {
		t.Helper()
		if down.credited != want {
			t.Errorf("%d of %d bytes are credited, want %d", down.credited, down.given, want)
		}
	}
	r.do(func() { down.onData("0123456789", false) })
	credited(0) // nobody has it
	r.unresolved = false
	r.servers[0].full = true
	r.ready[0]()
	r.do(func() {})
	credited(0) // no room
	r.do(func() { down.onData("0123456789", false) })
	credited(0)
	r.do(func() { r.open().drain() })
	credited(20)
	r.do(func() { down.onData("0123456789", false) })
	credited(30)
	r.do(func() { r.open().full = true })
	r.do(func() { down.onData("0123456789", false) })
	credited(30)
	r.do(func() { refusals["refused"](r, r.open()) }) // and the next one has none either
	credited(30)
	r.do(func() { r.open().drain() })
	credited(40)
	r.do(func() { refusals["refused"](r, r.open()) })
	credited(40) // what the next one gets again is credited already
	r.do(func() { down.onData("0123456789", true) })
	credited(50)
	if got := len(r.open().body); got != 50 {
		t.Errorf("the endpoint got %d bytes", got)
	}
	r.do(func() { r.open().onHead(response(200), true) })
	credited(50)
	r.wantIdle()
}

// TestCreditEndpoint: the same in the other direction.
func TestCreditEndpoint(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(request(), true)
	up := r.open()
	credited := func(want int) {
		t.Helper()
		if up.credited != want {
			t.Errorf("%d of %d bytes are credited, want %d", up.credited, up.given, want)
		}
	}
	r.do(func() { up.onHead(response(200), false) })
	r.do(func() { up.onData("0123456789", false) })
	credited(10)
	down.full = true
	r.do(func() { up.onData("0123456789", false) })
	r.do(func() { up.onData("0123456789", false) })
	credited(10)
	r.do(func() { down.drain() })
	credited(30)
	r.do(func() { down.drain() })
	r.do(func() { up.onData("0123456789", false) })
	credited(40)
	r.do(func() { down.full = true; up.onData("0123456789", true) })
	credited(50) // the endpoint has ended: nothing is held back for it
	if up.reset != nil {
		t.Error("an answer that is whole was reset")
	}
	r.wantIdle()
	r.do(func() { down.drain() })
	if string(down.body) != "01234567890123456789012345678901234567890123456789" || !down.sendEnded {
		t.Errorf("the client got %q, ended %t", down.body, down.sendEnded)
	}
}

// TestUploadBesideAnswer: a client that has not yet read its answer, because it
// still sends, can send all.
func TestUploadBesideAnswer(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	down := r.request(request(), false)
	up := r.open()
	down.full = true
	r.do(func() { up.onHead(response(413), false) })
	r.do(func() { up.onData("too large", true) })
	if up.reset == nil || *up.reset != message.Cancel {
		t.Errorf("the endpoint's stream, whose request goes on, got %v", up.reset)
	}
	r.do(func() { down.onData(kb(1), false) })
	r.do(func() { down.onData(kb(1), true) })
	if down.credited != down.given {
		t.Errorf("%d of %d bytes are credited", down.credited, down.given)
	}
	r.do(func() { down.drain() })
	r.wantMetric("requests_total", map[string]int{"4xx": 1})
	r.wantIdle()
}

// TestRequestIsCutOffByAnswer: bytes that the endpoint has no room for are not
// wanted any more when it has answered.
func TestRequestIsCutOffByAnswer(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	r.servers[0].full = true
	down := r.request(request(), false)
	up := r.open()
	r.do(func() { down.onData("ab", true) })
	r.do(func() { up.onHead(response(200), true) })
	if up.reset == nil || *up.reset != message.Cancel {
		t.Errorf("the endpoint's stream got %v", up.reset)
	}
	if down.reset != nil || down.status() != 200 || down.credited != down.given {
		t.Errorf("client: reset %v, status %d, %d of %d bytes are credited", down.reset, down.status(), down.credited, down.given)
	}
	r.wantIdle()
}
