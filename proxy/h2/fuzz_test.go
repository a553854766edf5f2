// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// reaction is all that a Conn did about an input.
type reaction struct {
	err    string
	out    []byte
	events []string
}

// fuzzHandler answers as an echo would, and resets some.
type fuzzHandler struct {
	s     message.Stream
	log   *[]string
	reply bool
}

func (h *fuzzHandler) note(format string, args ...any) {
	*h.log = append(*h.log, fmt.Sprintf(format, args...))
}

func (h *fuzzHandler) OnHead(head *message.Head, end bool) {
	h.note("%s%s", headText(head), endText(end))
	switch {
	case !h.reply:
	case head.Path == "/reset":
		h.s.Reset(message.InternalError)
	case head.Kind == message.Request:
		h.s.SendHead(responseHead(200, "a", "b"), false)
		h.s.SendHead(head, false)
		if end {
			h.s.SendData([]byte("bye"), true)
		}
	case head.Kind == message.Trailers:
		h.s.SendHead(head, true)
	}
}

func (h *fuzzHandler) OnData(p []byte, end bool) {
	h.note("data %q%s", p, endText(end))
	if h.reply {
		h.s.SendData(p, end)
	}
	h.s.Credit(len(p))
}
func (h *fuzzHandler) OnReset(r message.Reset) { h.note("reset %+v", r) }
func (h *fuzzHandler) OnDrained()              { h.note("drained") }

// react feeds input in pieces, the lengths of which are those of cuts.
func react(t *testing.T, server bool, input, cuts []byte) reaction {
	// Some budgets go by reads, and so by the pieces.
	o := Options{Limits: Limits{MaxControl: 1 << 30, MaxResets: 1 << 30, MaxStreams: 20, MaxHeaderBytes: 2000}}
	w, r := &wire{}, reaction{}
	var c *Conn
	if server {
		c = NewServer(w, o, func(s message.Stream) message.Handler {
			return &fuzzHandler{s: s, log: &r.events, reply: true}
		})
		input = append([]byte(preface), input...)
	} else {
		c = NewClient(w, o, func() {})
		for i := range 3 {
			h := &fuzzHandler{log: &r.events}
			h.s = c.Open(h)
			h.s.SendHead(requestHead("a", "b"), i == 0)
			if i > 0 {
				h.s.SendData(make([]byte, 40000), i == 1)
			}
		}
	}
	fed := len(input)
	for i := 0; len(input) > 0; i++ {
		n := len(input)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		err := c.Receive(bytes.Clone(input[:n]))
		input = input[n:]
		if err != nil {
			r.err = err.Error()
			if again := c.Receive([]byte("more")); again == nil {
				t.Error("Receive goes on after an error")
			}
			break
		}
	}
	if most := 100000 + 300*fed; len(w.out) > most {
		t.Errorf("%d bytes of output for %d of input", len(w.out), fed)
	}
	r.out = bytes.Clone(w.out)
	c.Closed(nil)
	if w.lent != 0 || c.open != 0 || c.streams.n != 0 || c.queue.head != nil {
		t.Errorf("after Closed: %d buffers lent, %d streams open, %d in the table", w.lent, c.open, c.streams.n)
	}
	return r
}

func fuzzConn(f *testing.F, server bool) {
	seeds := [][]byte{
		bytes.Join([][]byte{settings(4, 1<<20, 5, 20000), request(1, false), data(1, false, "abc"), data(1, true, ""), windowUpdate(0, 100)}, nil),
		bytes.Join([][]byte{settings(), request(1, false, "content-length", "3"), raw(framePing, 0, 0, "12345678"), headers(1, true, "x", "y")}, nil),
		bytes.Join([][]byte{settings(4, 0), request(1, true), windowUpdate(1, 10), settings(4, 100), rstStream(1, 8), request(3, true)}, nil),
		bytes.Join([][]byte{settings(), raw(frameHeaders, 0, 1, block(get...)[:7]), raw(frameContinuation, flagEndHeaders, 1, block(get...)[7:])}, nil),
		bytes.Join([][]byte{settings(3, 1), status(1, false, "103"), status(1, false, "200"), data(1, false, "x"), headers(1, true, "grpc-status", "0"), goAway(1, 0)}, nil),
		bytes.Join([][]byte{settings(), status(3, true, "200"), windowUpdate(0, 1<<20), windowUpdate(5, 1<<20), status(5, true, "204")}, nil),
		bytes.Join([][]byte{settings(1, 0), raw(frameHeaders, flagEndHeaders|flagEndStream, 1, "\x82\x86\x84\x01\x01a"), raw(frameHeaders, flagEndHeaders|flagEndStream, 3, "\x82\x86\x84\x40\x01x\x01y")}, nil),
	}
	for _, s := range seeds {
		f.Add(s, []byte{0})
		f.Add(s, []byte{8, 0, 200})
	}
	f.Fuzz(func(t *testing.T, input, cuts []byte) {
		if len(input) > 1<<16 {
			return
		}
		whole, pieces := react(t, server, input, nil), react(t, server, input, cuts)
		if whole.err != pieces.err || !bytes.Equal(whole.out, pieces.out) || !slices.Equal(whole.events, pieces.events) {
			t.Errorf("in one piece: %s\n%q\n%s\nin several: %s\n%q\n%s", whole.err, whole.out, strings.Join(whole.events, "\n"),
				pieces.err, pieces.out, strings.Join(pieces.events, "\n"))
		}
	})
}

// FuzzServer and FuzzClient feed what any peer may send: whatever the pieces
// are that it comes in, the same happens, and nothing is kept at the end.
func FuzzServer(f *testing.F) { fuzzConn(f, true) }

func FuzzClient(f *testing.F) { fuzzConn(f, false) }
