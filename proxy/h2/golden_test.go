// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// golden compares bytes with hexadecimal digits between which blanks may be.
func golden(t *testing.T, what string, got []byte, want ...string) {
	t.Helper()
	if w := strings.ReplaceAll(strings.Join(want, ""), " ", ""); hex.EncodeToString(got) != w {
		t.Errorf("%s:\n  got  %x\n  want %s", what, got, w)
	}
}

func TestGoldenHandshake(t *testing.T) {
	o := Options{Limits: Limits{MaxStreams: 100, StreamWindow: 1 << 20, MaxHeaderBytes: 1 << 14}, ConnWindow: 1 << 21}
	w := &wire{}
	c := NewServer(w, o, func(message.Stream) message.Handler { return nil })
	golden(t, "server", w.out,
		"000018 04 00 00000000",
		"0003 00000064", "0008 00000001", "0004 00100000", "0006 00004000",
		"000004 08 00 00000000 001f0001")
	w.out = nil
	c.Receive([]byte(preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	golden(t, "answer", w.out, "000000 04 01 00000000")

	w = &wire{}
	NewClient(w, o, nil)
	golden(t, "client", w.out,
		hex.EncodeToString([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
		"000012 04 00 00000000",
		"0002 00000000", "0004 00100000", "0006 00004000",
		"000004 08 00 00000000 001f0001")
}

func TestGoldenFrames(t *testing.T) {
	r := newServer(t, Options{})
	var s message.Stream
	for _, c := range []struct {
		what string
		do   func()
		want []string
	}{
		{"ping", func() { r.feed(raw(framePing, 0, 0, "abcdefgh")) }, []string{"000008 06 01 00000000 6162636465666768"}},
		{"head", func() {
			r.feed(request(0x7ffffffd, true))
			s = r.streams[0].s
			s.SendHead(responseHead(200), false)
		}, []string{"000001 01 04 7ffffffd 88"}},
		{"data", func() { s.SendData([]byte("hi"), false) }, []string{"000002 00 00 7ffffffd 6869"}},
		{"end", func() { s.SendData(nil, true) }, []string{"000000 00 01 7ffffffd"}},
		{"reset", func() {
			r.feed(request(0x7fffffff, false))
			r.streams[1].s.Reset(message.EnhanceYourCalm)
		}, []string{"000004 03 00 7fffffff 0000000b"}},
		{"goaway", func() { r.c.GoAway() }, []string{
			"000008 07 00 00000000 7fffffff 00000000",
			"000008 06 00 00000000", hex.EncodeToString([]byte(pingLeave)),
		}},
		{"error", func() { r.feed(data(0, false, "")) }, []string{
			"000018 07 00 00000000 7fffffff 00000001", hex.EncodeToString([]byte("DATA on stream 0")),
		}},
	} {
		r.w.out = nil
		c.do()
		golden(t, c.what, r.w.out, c.want...)
	}
}
