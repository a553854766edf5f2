// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"strings"
	"testing"
)

// TestFloodsOfServers: an endpoint has no more right to waste our time than a
// client. What is under way on the connection ends.
func TestFloodsOfServers(t *testing.T) {
	for name, c := range map[string]struct {
		before []byte
		frame  func(i int) []byte
		limit  string
		most   int
	}{
		"ping":            {nil, func(int) []byte { return raw(framePing, 0, 0, "12345678") }, LimitControl, 150},
		"settings":        {nil, func(int) []byte { return settings() }, LimitControl, 150},
		"window update":   {nil, func(int) []byte { return windowUpdate(0, 1) }, LimitControl, 150},
		"goaway":          {nil, func(int) []byte { return goAway(1, 0) }, LimitControl, 150},
		"interim":         {nil, func(int) []byte { return status(1, false, "103") }, LimitControl, 150},
		"empty data":      {status(1, false, "200"), func(int) []byte { return data(1, false, "") }, LimitControl, 150},
		"late trailers":   {rstStream(1, 8), func(int) []byte { return status(1, true, "200") }, LimitControl, 150},
		"late reset":      {rstStream(1, 8), func(int) []byte { return rstStream(1, 8) }, LimitControl, 150},
		"continuation":    {raw(frameHeaders, 0, 1, ""), func(int) []byte { return raw(frameContinuation, 0, 1, "") }, LimitContinuations, 50},
		"long head":       {raw(frameHeaders, 0, 1, ""), func(int) []byte { return raw(frameContinuation, 0, 1, strings.Repeat("\x88", 16384)) }, LimitHeaderBytes, 9},
		"unknown frames":  {nil, func(int) []byte { return raw(0xbe, 0, 0, "") }, LimitControl, 150},
		"priority frames": {nil, func(int) []byte { return raw(framePriority, 0, 1, "\x00\x00\x00\x03\x10") }, LimitControl, 150},
	} {
		t.Run(name, func(t *testing.T) {
			r := newClient(t, Options{Limits: Limits{MaxControl: 100}})
			a, b := r.open(requestHead(), true), r.open(requestHead(), true)
			r.feed(c.before)
			flood(t, r, c.most, c.frame)
			if n := len(r.limits); n == 0 || r.limits[n-1] != c.limit {
				t.Errorf("limits hit are %q", r.limits)
			}
			if last := r.output(); !strings.HasPrefix(last[len(last)-1], "GOAWAY 0 ENHANCE_YOUR_CALM") {
				t.Errorf("last frame is %q", last[len(last)-1])
			}
			for _, rec := range []*recorder{a, b} {
				if last := rec.events[len(rec.events)-1]; !strings.HasPrefix(last, "reset") {
					t.Errorf("last event of a stream is %q", last)
				}
			}
			r.c.Closed(nil)
			if r.w.lent != 0 || r.c.Room() != 0 {
				t.Errorf("%d buffers are lent, room is %d", r.w.lent, r.c.Room())
			}
		})
	}
}

// TestBombOfServer: as of a client, but there is nobody to answer: the stream
// ends, and the others go on.
func TestBombOfServer(t *testing.T) {
	r := newClient(t, Options{})
	a, b := r.open(requestHead(), true), r.open(requestHead(), true)
	r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x88\x40\x01x\x7f\xb9\x16"+strings.Repeat("y", 3000)))
	r.output()
	if err := r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, 3, "\x88"+strings.Repeat("\xbe", 16000))); err != nil {
		t.Fatal(err)
	}
	expect(t, "output", r.output(), "RST_STREAM 3 ENHANCE_YOUR_CALM")
	expect(t, "events", b.events, "reset ENHANCE_YOUR_CALM malformed")
	if len(a.events) != 1 || cap(r.c.o.Pool.fields) > 1000 {
		t.Errorf("events of the other are %q; %d fields are kept", a.events, cap(r.c.o.Pool.fields))
	}
	c := r.open(requestHead(), true)
	r.feed(status(5, true, "204"))
	expect(t, "events", c.events, "204 end")
}
