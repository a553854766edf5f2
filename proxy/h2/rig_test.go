// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// wire keeps what a Conn writes, and counts the buffers it holds.
type wire struct {
	out     []byte
	stuck   int    // bytes that the socket is said not to have taken, beside out
	spare   []byte // the next out of carry
	buffers [][]byte
	lent    int
	taken   int // times that Buffer was called
	closed  bool
	aborted bool
}

// take returns what was written, and goes on in another buffer.
func (w *wire) take() []byte {
	p := w.out
	w.out, w.spare = w.spare, nil
	return p
}

func (w *wire) Output() *[]byte { return &w.out }
func (w *wire) Unsent() int     { return w.stuck + len(w.out) }
func (w *wire) HighWater() int  { return 256 << 10 }
func (w *wire) Close()          { w.closed = true }
func (w *wire) Abort()          { w.aborted = true }

func (w *wire) Buffer() []byte {
	w.lent++
	w.taken++
	if n := len(w.buffers); n > 0 {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b
	}
	return make([]byte, 0, 32<<10)
}

func (w *wire) Recycle(b []byte) {
	if len(b) != 0 || cap(b) != 32<<10 {
		panic(fmt.Sprintf("recycled buffer has len %d, cap %d", len(b), cap(b)))
	}
	w.lent--
	w.buffers = append(w.buffers, b)
}

// recorder notes what a Handler hears.
type recorder struct {
	s      message.Stream
	events []string
	quiet  bool // it credits nothing
	on     func(event string)
}

func (r *recorder) note(format string, args ...any) {
	event := fmt.Sprintf(format, args...)
	r.events = append(r.events, event)
	if r.on != nil {
		r.on(event)
	}
}

func (r *recorder) OnHead(h *message.Head, end bool) { r.note("%s%s", headText(h), endText(end)) }
func (r *recorder) OnReset(v message.Reset) {
	r.note("reset %v%s%s", v.Code, flagText(v.Unprocessed, " unprocessed"), flagText(v.Malformed, " malformed"))
}
func (r *recorder) OnDrained() { r.note("drained") }
func (r *recorder) OnData(p []byte, end bool) {
	text := string(p)
	if len(p) > 20 {
		text = fmt.Sprintf("%d bytes", len(p))
	}
	r.note("data %s%s", text, endText(end))
	if !r.quiet {
		r.s.Credit(len(p))
	}
}

func flagText(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

func endText(end bool) string { return flagText(end, " end") }

func headText(h *message.Head) string {
	var b strings.Builder
	switch h.Kind {
	case message.Request:
		fmt.Fprintf(&b, "%s %s://%s%s", h.Method, h.Scheme, h.Authority, h.Path)
		if h.Protocol != "" {
			fmt.Fprintf(&b, " protocol %s", h.Protocol)
		}
	case message.Response:
		fmt.Fprintf(&b, "%d", h.Status)
	case message.Trailers:
		b.WriteString("trailers")
	}
	for _, f := range h.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
	}
	return b.String()
}

// rig is a Conn and a peer of it made by hand.
type rig struct {
	t        *testing.T
	w        *wire
	c        *Conn
	streams  []*recorder // in the order they were opened in
	accepted func(*recorder)
	changed  int
	limits   []string
	refused  []int

	in     bytes.Buffer
	framer *http2.Framer
}

func newRig(t *testing.T, o Options, server bool) *rig {
	r := &rig{t: t, w: &wire{}}
	o.Refused = func(status int) { r.refused = append(r.refused, status) }
	o.LimitHit = func(name string) { r.limits = append(r.limits, name) }
	if server {
		r.c = NewServer(r.w, o, func(s message.Stream) message.Handler {
			h := &recorder{s: s}
			r.streams = append(r.streams, h)
			if r.accepted != nil {
				r.accepted(h)
			}
			return h
		})
	} else {
		r.c = NewClient(r.w, o, func() { r.changed++ })
		r.w.out = bytes.TrimPrefix(r.w.out, []byte(preface))
	}
	r.framer = http2.NewFramer(nil, &r.in)
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.framer.SetMaxReadFrameSize(1<<24 - 1)
	return r
}

// newServer and newClient return rigs whose handshake is over.
func newServer(t *testing.T, o Options) *rig {
	r := newRig(t, o, true)
	r.feed([]byte(preface), settings())
	r.output()
	return r
}

func newClient(t *testing.T, o Options, values ...uint32) *rig {
	r := newRig(t, o, false)
	r.feed(settings(values...))
	r.output()
	return r
}

// open sends a request of the client's.
func (r *rig) open(h *message.Head, end bool) *recorder {
	rec := &recorder{}
	rec.s = r.c.Open(rec)
	rec.s.SendHead(h, end)
	r.streams = append(r.streams, rec)
	return rec
}

// feed gives frames to the Conn in one piece.
func (r *rig) feed(frames ...[]byte) error {
	return r.c.Receive(bytes.Join(frames, nil))
}

// output returns the frames sent since it was called last, in words.
func (r *rig) output() []string {
	r.t.Helper()
	r.in.Write(r.w.out)
	r.w.out = r.w.out[:0]
	var all []string
	for r.in.Len() > 0 {
		f, err := r.framer.ReadFrame()
		if err != nil {
			r.t.Fatalf("read frame: %v (%v)", err, r.framer.ErrorDetail())
		}
		all = append(all, frameText(f))
	}
	return all
}

func frameText(f http2.Frame) string {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		text := fmt.Sprintf("HEADERS %d", id)
		for _, field := range f.Fields {
			text += " " + field.Name + "=" + field.Value
		}
		return text + endText(f.StreamEnded())
	case *http2.DataFrame:
		if n := len(f.Data()); n > 20 {
			return fmt.Sprintf("DATA %d %d bytes%s", id, n, endText(f.StreamEnded()))
		}
		return fmt.Sprintf("DATA %d %s%s", id, f.Data(), endText(f.StreamEnded()))
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %v", id, message.Code(f.ErrCode))
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, message.Code(f.ErrCode))
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment)
	case *http2.PingFrame:
		return fmt.Sprintf("PING %s%s", f.Data, flagText(f.IsAck(), " ack"))
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		text := "SETTINGS"
		f.ForeachSetting(func(s http2.Setting) error {
			text += fmt.Sprintf(" %d=%d", s.ID, s.Val)
			return nil
		})
		return text
	}
	return fmt.Sprintf("%T %d", f, id)
}

// Frames of a peer.

func raw(kind frameType, flags uint8, id uint32, payload string) []byte {
	return append(appendFrameHeader(nil, len(payload), kind, flags, id), payload...)
}

func settings(values ...uint32) []byte {
	var p []byte
	for i := 0; i < len(values); i += 2 {
		p = appendSetting(p, setting(values[i]), int(values[i+1]))
	}
	return raw(frameSettings, 0, 0, string(p))
}

// block encodes names and values without any state.
func block(fields ...string) string {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return b.String()
}

func headers(id uint32, end bool, fields ...string) []byte {
	flags := uint8(flagEndHeaders)
	if end {
		flags |= flagEndStream
	}
	return raw(frameHeaders, flags, id, block(fields...))
}

var get = []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}

func request(id uint32, end bool, more ...string) []byte {
	return headers(id, end, append(get[:len(get):len(get)], more...)...)
}

func data(id uint32, end bool, p string) []byte {
	var flags uint8
	if end {
		flags = flagEndStream
	}
	return raw(frameData, flags, id, p)
}

func word(kind frameType, id, v uint32) []byte {
	return raw(kind, 0, id, string([]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}))
}

func windowUpdate(id, n uint32) []byte { return word(frameWindowUpdate, id, n) }
func rstStream(id uint32, code message.Code) []byte {
	return word(frameRSTStream, id, uint32(code))
}

// Heads of ours.

func fields(nv ...string) []*message.Field {
	var all []*message.Field
	for i := 0; i < len(nv); i += 2 {
		all = append(all, &message.Field{Name: nv[i], Value: nv[i+1], Again: true})
	}
	return all
}

func requestHead(nv ...string) *message.Head {
	return &message.Head{
		Kind: message.Request, Stable: true, Method: "POST", Scheme: "http", Authority: "a", Path: "/",
		ContentLength: -1, Fields: fields(nv...),
	}
}

func responseHead(status int, nv ...string) *message.Head {
	return &message.Head{Kind: message.Response, Stable: true, Status: status, ContentLength: -1, Fields: fields(nv...)}
}

func trailersHead(nv ...string) *message.Head {
	return &message.Head{Kind: message.Trailers, Stable: true, ContentLength: -1, Fields: fields(nv...)}
}

// expect compares lines; the last want may be a prefix of several things that
// do not matter.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n  got  %q\n  want %q", what, got, want)
	}
}
