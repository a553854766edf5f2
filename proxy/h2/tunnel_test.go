// SPDX-License-Identifier: Apache-2.0

package h2

import "testing"

// TestTunnelEndsByHalves: the end of a response to CONNECT does not end the
// client's direction (RFC 9113, section 8.5); of other requests it does.
func TestTunnelEndsByHalves(t *testing.T) {
	connect := headers(1, false, ":method", "CONNECT", ":authority", "a:1")
	r := newServer(t, Options{})
	r.feed(connect)
	r.streams[0].s.SendHead(responseHead(200), false)
	r.streams[0].s.SendData(nil, true)
	expect(t, "answer", r.output(), "HEADERS 1 :status=200", "DATA 1  end")
	r.feed(data(1, false, "more"), data(1, true, "rest"))
	expect(t, "events", r.streams[0].events, "CONNECT ://a:1", "data more", "data rest end")
	if r.c.Streams() != 0 {
		t.Error("a tunnel that ended in both directions is not forgotten")
	}

	refused := newServer(t, Options{})
	refused.feed(connect)
	refused.streams[0].s.SendHead(responseHead(403), true)
	expect(t, "refusal", refused.output(), "HEADERS 1 :status=403 end", "RST_STREAM 1 NO_ERROR")
}
