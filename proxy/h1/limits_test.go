// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
)

// TestLimitsThatPause: who is paused hits a limit, once.
func TestLimitsThatPause(t *testing.T) {
	for limit, in := range map[string][]string{
		h1.LimitWindow:    {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n", strings.Repeat("x", 101), strings.Repeat("x", 101)},
		h1.LimitPipelined: {getA, strings.Repeat(getA, 10), getA},
	} {
		var hits []string
		o := h1.Options{Limits: h1.Limits{Window: 100, MaxPipelined: 100}, LimitHit: func(name string) { hits = append(hits, name) }}
		s := newServer(o)
		for _, p := range in {
			s.feed(p)
		}
		if !s.wire.paused || !slices.Equal(hits, []string{limit}) {
			t.Errorf("%s: paused is %t, limits hit are %q", limit, s.wire.paused, hits)
		}
	}
}

// TestUnsentLimit: it is hit once for each time that the socket is full.
func TestUnsentLimit(t *testing.T) {
	hits := 0
	s := newServer(h1.Options{LimitHit: func(name string) {
		if name == h1.LimitUnsent {
			hits++
		}
	}})
	s.feed(getA)
	s.streams[0].SendHead(status(200, -1), false)
	for range 2 {
		for range 3 {
			s.streams[0].SendData(make([]byte, highWater+1), false)
		}
		s.wire.take()
		s.Drained()
	}
	if hits != 2 {
		t.Errorf("hit %d times, want 2", hits)
	}
}

// TestInterimLimit: a server that sends interim responses for ever is broken.
func TestInterimLimit(t *testing.T) {
	var hits []string
	c, r := newClient(h1.Options{Limits: h1.Limits{MaxInterim: 3}, LimitHit: func(name string) { hits = append(hits, name) }}), &recorder{}
	c.Open(r).SendHead(get("/"), true)
	const hints = "HTTP/1.1 103 Early Hints\r\n\r\n"
	if err := c.feed(strings.Repeat(hints, 3)); err != nil || len(hits) > 0 {
		t.Errorf("three: %v, limits hit are %q", err, hits)
	}
	if err := c.feed(hints); err == nil || !slices.Equal(hits, []string{h1.LimitInterim}) {
		t.Errorf("four: %v, limits hit are %q", err, hits)
	}
}
