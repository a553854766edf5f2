// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// wire is a connection whose socket takes nothing until take is called.
type wire struct {
	out    []byte
	paused bool
	fin    bool // CloseWrite
	closed bool
	reset  bool // Abort
}

func (w *wire) Output() *[]byte { return &w.out }
func (w *wire) Unsent() int     { return len(w.out) }
func (w *wire) HighWater() int  { return highWater }
func (w *wire) Pause(on bool)   { w.paused = on }
func (w *wire) Close()          { w.closed = true }
func (w *wire) CloseWrite()     { w.fin = true }
func (w *wire) Abort()          { w.reset = true }

// highWater is that of all wires.
const highWater = 256 << 10

func (w *wire) take() string {
	s := string(w.out)
	w.out = w.out[:0]
	return s
}

// state is how the connection ended: "" while it goes on.
func (w *wire) state() string {
	switch {
	case w.reset:
		return "reset"
	case w.closed:
		return "closed"
	case w.fin:
		return "fin"
	}
	return ""
}

// recorder is a Handler that writes down what it hears. Pieces of content that
// follow one another are one.
type recorder struct {
	log    strings.Builder
	data   []byte
	onHead func(h *message.Head, end bool)
	onData func(p []byte, end bool)
	drains int
	over   bool

	// The first final message, taken apart.
	first, trailer *message.Head
	body           []byte
	ended          bool
}

func (r *recorder) keep(h *message.Head, end bool) {
	kept := &message.Head{}
	h.CopyTo(kept)
	switch {
	case r.ended:
	case h.Kind == message.Trailers:
		r.trailer = kept
	case r.first == nil && !h.Informational():
		r.first = kept
	}
	r.ended = r.ended || end
}

func (r *recorder) note(format string, args ...any) {
	if r.over {
		panic("called after the end: " + fmt.Sprintf(format, args...))
	}
	if len(r.data) > 0 {
		fmt.Fprintf(&r.log, "data %q\n", r.data)
		r.data = r.data[:0]
	}
	fmt.Fprintf(&r.log, format, args...)
	r.log.WriteByte('\n')
}

func (r *recorder) text() string {
	if len(r.data) > 0 {
		return r.log.String() + fmt.Sprintf("data %q\n", r.data)
	}
	return r.log.String()
}

func (r *recorder) OnHead(h *message.Head, end bool) {
	r.keep(h, end)
	r.note("%s", describe(h))
	if end {
		r.note("end")
	}
	if r.onHead != nil {
		r.onHead(h, end)
	}
}

func (r *recorder) OnData(p []byte, end bool) {
	if r.over {
		panic("data after the end")
	}
	r.data = append(r.data, p...)
	if !r.ended {
		r.body = append(r.body, p...)
	}
	if end {
		r.ended = true
		r.note("end")
	}
	if r.onData != nil {
		r.onData(p, end)
	}
}

func (r *recorder) OnReset(v message.Reset) {
	r.note("reset %v unprocessed=%v malformed=%v", v.Code, v.Unprocessed, v.Malformed)
	r.over = true
}

func (r *recorder) OnDrained() { r.drains++ }

// describe is all of a head in one line.
func describe(h *message.Head) string {
	var b strings.Builder
	switch h.Kind {
	case message.Request:
		fmt.Fprintf(&b, "%s %s://%s %s", h.Method, h.Scheme, h.Authority, h.Path)
	case message.Response:
		fmt.Fprintf(&b, "%d", h.Status)
	default:
		b.WriteString("trailers")
	}
	if h.ContentLength >= 0 {
		fmt.Fprintf(&b, " length=%d", h.ContentLength)
	}
	if h.Protocol != "" {
		fmt.Fprintf(&b, " protocol=%s", h.Protocol)
	}
	if h.GRPC {
		b.WriteString(" grpc")
	}
	for _, f := range h.Fields {
		fmt.Fprintf(&b, " %s=%q", f.Name, f.Value)
	}
	return b.String()
}

// server is a core with the handlers of its requests.
type server struct {
	*h1.Server
	wire     *wire
	streams  []message.Stream
	handlers []*recorder
	// prepare may fit a handler out.
	prepare func(s message.Stream, r *recorder)
}

func newServer(o h1.Options) *server {
	s := &server{wire: &wire{}}
	s.Server = h1.NewServer(s.wire, o, func(st message.Stream) message.Handler {
		r := &recorder{}
		s.streams, s.handlers = append(s.streams, st), append(s.handlers, r)
		if s.prepare != nil {
			s.prepare(st, r)
		}
		return r
	})
	return s
}

// feed gives bytes to the core as the loop would.
func (s *server) feed(in string) error {
	if s.wire.closed || s.wire.reset {
		return nil
	}
	p := []byte(in)
	err := s.Receive(p)
	clear(p) // it is valid during the call
	if err != nil {
		s.wire.closed = true
	}
	return err
}

func (s *server) text() string {
	var b strings.Builder
	for _, r := range s.handlers {
		b.WriteString(r.text())
	}
	return b.String()
}

// client is a core with the handler of one request.
type client struct {
	*h1.Client
	wire    *wire
	changes int
}

func newClient(o h1.Options) *client {
	c := &client{wire: &wire{}}
	c.Client = h1.NewClient(c.wire, o, func() { c.changes++ })
	return c
}

func (c *client) feed(in string) error {
	if c.wire.closed || c.wire.reset {
		return nil
	}
	p := []byte(in)
	err := c.Receive(p)
	clear(p) // it is valid during the call
	if err != nil {
		c.wire.closed = true
	}
	return err
}

func get(path string) *message.Head {
	return &message.Head{Kind: message.Request, Method: "GET", Scheme: "http", Authority: "a", Path: path, ContentLength: -1}
}

func status(code int, length int64) *message.Head {
	return &message.Head{Kind: message.Response, Status: code, ContentLength: length}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
