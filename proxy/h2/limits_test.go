// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// flood sends frames until the connection fails, and tells how many that took.
func flood(t *testing.T, r *rig, most int, frame func(i int) []byte) int {
	t.Helper()
	var all []byte
	sizes := make([]int, most)
	for i := range sizes {
		sizes[i] = len(frame(i))
		all = append(all, frame(i)...)
	}
	err := r.c.Receive(all)
	var e *Error
	if !errors.As(err, &e) || e.Code != message.EnhanceYourCalm {
		t.Fatalf("after %d frames: %v", most, err)
	}
	return int(r.c.frames)
}

func TestFloods(t *testing.T) {
	for name, c := range map[string]struct {
		before []byte
		frame  func(i int) []byte
		limit  string
		most   int
	}{
		"ping":          {nil, func(int) []byte { return raw(framePing, 0, 0, "12345678") }, LimitControl, 150},
		"ping ack":      {nil, func(int) []byte { return raw(framePing, flagAck, 0, "12345678") }, LimitControl, 150},
		"settings":      {nil, func(int) []byte { return settings() }, LimitControl, 150},
		"long settings": {nil, func(int) []byte { return raw(frameSettings, 0, 0, strings.Repeat("\x00\x09\x00\x00\x00\x00", 2000)) }, LimitControl, 5},
		"settings ack":  {nil, func(int) []byte { return raw(frameSettings, flagAck, 0, "") }, LimitControl, 150},
		"priority":      {nil, func(int) []byte { return raw(framePriority, 0, 1, "\x00\x00\x00\x03\x10") }, LimitControl, 150},
		"unknown":       {nil, func(int) []byte { return raw(0xbe, 0, 0, "") }, LimitControl, 150},
		"window update": {nil, func(int) []byte { return windowUpdate(0, 1) }, LimitControl, 150},
		"goaway":        {nil, func(int) []byte { return goAway(0, 0) }, LimitControl, 150},
		"empty data":    {request(1, false), func(int) []byte { return data(1, false, "") }, LimitControl, 150},
		"padding alone": {request(1, false), func(int) []byte { return raw(frameData, flagPadded, 1, "\x01\x00") }, LimitControl, 150},
		"late reset":    {request(1, true), func(int) []byte { return rstStream(1, 8) }, LimitControl, 150},
		"late data":     {request(1, true), func(i int) []byte { return append(rstStream(1, 8), data(1, false, "x")...) }, LimitControl, 150},
		"rapid reset": {nil, func(i int) []byte {
			id := uint32(2*i + 1)
			return append(request(id, true), rstStream(id, 8)...)
		}, LimitResets, 25},
		"reset by errors of its own": {nil, func(i int) []byte {
			id := uint32(2*i + 1)
			return append(request(id, true), windowUpdate(id, 0)...)
		}, LimitResets, 25},
		"malformed requests": {nil, func(i int) []byte { return headers(uint32(2*i+1), true, "a", "b") }, LimitResets, 25},
		"refused streams":    {nil, func(i int) []byte { return request(uint32(2*i+1), true) }, LimitControl, 400},
		"continuation":       {raw(frameHeaders, 0, 1, ""), func(int) []byte { return raw(frameContinuation, 0, 1, "") }, LimitContinuations, 50},
		"long continuation":  {raw(frameHeaders, 0, 1, ""), func(int) []byte { return raw(frameContinuation, 0, 1, strings.Repeat("\x82", 16384)) }, LimitHeaderBytes, 9},
	} {
		t.Run(name, func(t *testing.T) {
			r := newServer(t, Options{Limits: Limits{MaxControl: 100, MaxResets: 20, MaxStreams: 20}})
			r.feed(c.before)
			flood(t, r, c.most, c.frame)
			if n := len(r.limits); n == 0 || r.limits[n-1] != c.limit {
				t.Errorf("limits hit are %q", r.limits)
			}
			out := r.output()
			if last := out[len(out)-1]; !strings.HasPrefix(last, "GOAWAY") {
				t.Errorf("last frame is %q", last)
			}
			if r.c.open != 0 {
				t.Errorf("%d streams are open", r.c.open)
			}
			r.c.Closed(nil)
			if r.w.lent != 0 {
				t.Errorf("%d buffers are lent", r.w.lent)
			}
		})
	}
}

// What busy and patient clients do is no flood.
func TestNoFloods(t *testing.T) {
	r := newServer(t, Options{})
	for range 100000 { // keepalive, one read each
		if err := r.feed(raw(framePing, 0, 0, "12345678")); err != nil {
			t.Fatal(err)
		}
		r.w.out = r.w.out[:0]
	}
	id := uint32(1)
	for range 20000 { // half of all requests hedged away
		r.streams = r.streams[:0]
		if err := r.feed(request(id, true), request(id+2, true), rstStream(id, 8)); err != nil {
			t.Fatal(err)
		}
		r.streams[1].s.SendHead(responseHead(200), true)
		r.w.out = r.w.out[:0]
		id += 4
	}
	// Each DATA frame of ours answered by two WINDOW_UPDATEs and a PING, as
	// grpc-go does, in one read.
	r.streams = r.streams[:0]
	r.feed(request(id, true))
	for range 100 {
		for range 64 {
			r.streams[0].s.SendData(make([]byte, 1000), false)
		}
		var answers []byte
		for range 64 {
			answers = append(answers, windowUpdate(0, 1000)...)
			answers = append(answers, windowUpdate(id, 1000)...)
			answers = append(answers, raw(framePing, 0, 0, "12345678")...)
		}
		if err := r.feed(answers); err != nil {
			t.Fatal(err)
		}
		r.w.out = r.w.out[:0]
	}
	// Streams that were reset late, without an answer.
	for range 2000 {
		id += 2
		r.c.calm = r.c.o.MaxControl
		r.feed(request(id, true))
		for range soonFrames {
			r.feed(windowUpdate(0, 1))
		}
		if err := r.feed(rstStream(id, 8)); err != nil {
			t.Fatal(err)
		}
		r.w.out = r.w.out[:0]
	}
	if len(r.limits) != 0 {
		t.Errorf("limits hit are %q", r.limits)
	}
}

func TestHeaderListTooLarge(t *testing.T) {
	big := strings.Repeat("x", 900)
	r := newServer(t, Options{Limits: Limits{MaxHeaderBytes: 1000}})
	r.feed(request(1, true, "big", big), request(3, false, "big", big), data(3, true, "x"), request(5, true))
	expect(t, "output", r.output(), "HEADERS 1 :status=431 shunt-error=header-too-large end", "HEADERS 3 :status=431 shunt-error=header-too-large end", "RST_STREAM 3 NO_ERROR")
	expect(t, "limits", r.limits, LimitHeaderBytes, LimitHeaderBytes)
	if len(r.streams) != 1 {
		t.Errorf("%d requests were accepted", len(r.streams))
	}
	r.feed(request(7, false), headers(7, true, "big", big+big[:100]))
	expect(t, "trailers", r.output(), "RST_STREAM 7 ENHANCE_YOUR_CALM")
	r.feed(headers(9, true, "a", "b"))
	expect(t, "malformed", r.output(), "RST_STREAM 9 PROTOCOL_ERROR")
	if !slices.Equal(r.refused, []int{431, 431, 400}) {
		t.Errorf("refused with %v", r.refused)
	}

	r = newClient(t, Options{Limits: Limits{MaxHeaderBytes: 1000}})
	a := r.open(requestHead(), true)
	r.output()
	r.feed(status(1, true, "200", "big", big+big[:100]))
	expect(t, "response", r.output(), "RST_STREAM 1 ENHANCE_YOUR_CALM")
	expect(t, "events", a.events, "reset ENHANCE_YOUR_CALM malformed")
	if r.c.err != nil {
		t.Error(r.c.err)
	}
}

// A few bytes that stand for many: 4 KiB in the table, and then its index.
func TestHPACKBomb(t *testing.T) {
	r := newServer(t, Options{})
	insert := "\x82\x86\x84\x01\x01a\x40\x01x\x7f\xb9\x16" + strings.Repeat("y", 3000)
	if err := r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, 1, insert)); err != nil {
		t.Fatal(err)
	}
	bomb := "\x82\x86\x84\x01\x01a" + strings.Repeat("\xbe", 16000)
	if err := r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, 3, bomb)); err != nil {
		t.Fatal(err)
	}
	expect(t, "output", r.output(), "HEADERS 3 :status=431 shunt-error=header-too-large end")
	if n := cap(r.c.o.Pool.fields); n > 1000 {
		t.Errorf("%d fields were kept", n)
	}
}

func TestPeerThatDoesNotRead(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, true))
	r.w.stuck = r.c.o.MaxOutput + 1
	if err := r.feed(raw(framePing, 0, 0, "12345678")); err == nil || !r.w.aborted {
		t.Errorf("error %v, aborted %t", err, r.w.aborted)
	}
	expect(t, "limits", r.limits, LimitOutput)
	expect(t, "events", r.streams[0].events, get1+" end", "reset ENHANCE_YOUR_CALM malformed")
}

// TestWindowLimit: a body that nobody takes fills its window, and one that is
// taken does not.
func TestWindowLimit(t *testing.T) {
	for credited, want := range map[bool][]string{false: {LimitWindow}, true: nil} {
		r := newServer(t, Options{Limits: Limits{StreamWindow: 65535}})
		r.accepted = func(rec *recorder) { rec.quiet = !credited }
		r.feed(request(1, false))
		for sent := 0; sent < 65535; {
			n := min(16384, 65535-sent)
			r.feed(data(1, false, strings.Repeat("x", n)))
			sent += n
		}
		expect(t, "limits", r.limits, want...)
	}
}

// TestUnsentLimit: it is hit once for each time that the socket is full.
func TestUnsentLimit(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, false), windowUpdate(0, 1<<24), windowUpdate(1, 1<<24))
	r.streams[0].s.SendHead(responseHead(200), false)
	for range 2 {
		r.w.stuck = r.c.high + 1
		for range 3 {
			r.streams[0].s.SendData([]byte("x"), false)
		}
		r.w.stuck = 0
		r.c.Drained()
	}
	expect(t, "limits", r.limits, LimitUnsent, LimitUnsent)
}
