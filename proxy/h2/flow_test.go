// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

const (
	settingWindow = uint32(settingInitialWindowSize)
	settingFrame  = uint32(settingMaxFrameSize)
	settingTable  = uint32(settingHeaderTableSize)
)

// sum adds up the DATA of frames in words.
func sum(frames []string) (total int, end bool) {
	for _, f := range frames {
		var id, n int
		if _, err := fmt.Sscanf(f, "DATA %d %d bytes", &id, &n); err == nil {
			total += n
		} else if rest, ok := strings.CutPrefix(f, fmt.Sprintf("DATA %d ", id)); ok {
			total += len(strings.TrimSuffix(rest, " end"))
		}
		end = end || strings.HasSuffix(f, " end")
	}
	return total, end
}

// TestStreamGoesOnWhenSettingsRaiseItsWindow: grpc-go's estimator of bandwidth
// raises SETTINGS_INITIAL_WINDOW_SIZE in the middle of a body and sends no
// WINDOW_UPDATE for the stream. Who does not send on then stalls for ever.
func TestStreamGoesOnWhenSettingsRaiseItsWindow(t *testing.T) {
	r := newClient(t, Options{})
	a := r.open(requestHead(), false)
	r.feed(windowUpdate(0, 1<<20))
	a.s.SendData(make([]byte, 200<<10), true)
	if n, end := sum(r.output()); n != 65535 || end {
		t.Fatalf("%d bytes were sent, end %t", n, end)
	}
	if a.s.Unsent() != 200<<10-65535 {
		t.Errorf("%d bytes unsent", a.s.Unsent())
	}
	r.feed(settings(settingWindow, 100000))
	if n, end := sum(r.output()); n != 100000-65535 || end {
		t.Fatalf("%d bytes were sent after the window was raised, end %t", n, end)
	}
	expect(t, "events", a.events)
	r.feed(settings(settingWindow, 1<<20))
	if n, end := sum(r.output()); n != 200<<10-100000 || !end {
		t.Errorf("%d bytes were sent after the window was raised again, end %t", n, end)
	}
	expect(t, "events", a.events, "drained")
	if r.w.lent != 0 {
		t.Errorf("%d buffers are lent", r.w.lent)
	}
}

func TestWindowBelowZero(t *testing.T) {
	r := newClient(t, Options{})
	a := r.open(requestHead(), false)
	a.s.SendData(make([]byte, 60000), false)
	r.output()
	r.feed(settings(settingWindow, 100), windowUpdate(0, 1<<20)) // 100-60000
	a.s.SendData([]byte("abc"), false)
	r.feed(windowUpdate(1, 59900))
	expect(t, "at zero", r.output()[1:])
	r.feed(windowUpdate(1, 2))
	expect(t, "above zero", r.output(), "DATA 1 ab")
	a.s.SendHead(trailersHead("x", "y"), true)
	r.feed(settings(settingWindow, 0), windowUpdate(1, 100))
	expect(t, "at zero again", r.output()[1:])
	r.feed(windowUpdate(1, 1))
	expect(t, "with trailers", r.output(), "DATA 1 c", "HEADERS 1 x=y end")
	expect(t, "events", a.events, "drained")
}

func TestFramesAreSplit(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 1<<20)
	r.feed(windowUpdate(0, 1<<20))
	a := r.open(requestHead(), false)
	r.output()
	a.s.SendData(make([]byte, 40000), true)
	expect(t, "default", r.output(), "DATA 1 16384 bytes", "DATA 1 16384 bytes", "DATA 1 7232 bytes end")
	r.feed(settings(settingFrame, 1<<20))
	b := r.open(requestHead(), false)
	r.output()
	b.s.SendData(make([]byte, 80000), false)
	expect(t, "larger", r.output(), "DATA 3 65536 bytes", "DATA 3 14464 bytes")
}

// Streams that wait for the window of the connection take turns.
func TestStreamsTakeTurns(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 1<<20)
	var all []*recorder
	for range 3 {
		all = append(all, r.open(requestHead(), false))
	}
	r.output()
	all[0].s.SendData(make([]byte, 65535+40000), true)
	all[1].s.SendData(make([]byte, 20000), true)
	all[2].s.SendData(nil, false)
	all[2].s.SendData([]byte("abc"), true)
	r.output()
	r.feed(windowUpdate(0, 100000))
	expect(t, "turns", r.output(), "DATA 1 16384 bytes", "DATA 3 16384 bytes", "DATA 5 abc end",
		"DATA 1 16384 bytes", "DATA 3 3616 bytes end", "DATA 1 7232 bytes end")
	for i, rec := range all {
		expect(t, fmt.Sprint("events of ", i), rec.events, "drained")
	}
}

func TestEndNeedsNoWindow(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 0)
	a, b := r.open(requestHead(), false), r.open(requestHead(), false)
	r.output()
	a.s.SendData(nil, true)
	expect(t, "empty end", r.output(), "DATA 1  end")
	b.s.SendData([]byte("x"), false)
	b.s.SendData(nil, true)
	expect(t, "end that must wait", r.output())
	r.feed(windowUpdate(3, 1))
	expect(t, "end that waited", r.output(), "DATA 3 x end")
}

func TestOutputAboveHighWater(t *testing.T) {
	r := newClient(t, Options{}, settingWindow, 1<<20)
	r.feed(windowUpdate(0, 1<<20))
	a, b := r.open(requestHead(), false), r.open(requestHead(), false)
	r.output()
	r.w.stuck = r.c.high - 20000
	a.s.SendData(make([]byte, 60000), false)
	expect(t, "up to the mark", r.output(), "DATA 1 16384 bytes", "DATA 1 16384 bytes")
	r.w.stuck = r.c.high + 1
	r.feed(windowUpdate(1, 1), windowUpdate(0, 1), settings(settingWindow, 2<<20))
	expect(t, "above it", r.output(), "SETTINGS ack")
	r.w.stuck = 0
	b.s.SendData([]byte("b"), true)
	expect(t, "whoever comes late waits", r.output())
	r.c.Drained()
	expect(t, "drained", r.output(), "DATA 1 16384 bytes", "DATA 3 b end", "DATA 1 10848 bytes")
	expect(t, "events", append(a.events, b.events...), "drained", "drained")
}

func TestReceiveWindows(t *testing.T) {
	r := newServer(t, Options{Limits: Limits{StreamWindow: 65535}, ConnWindow: 65535})
	r.accepted = func(rec *recorder) { rec.quiet = true }
	chunk := strings.Repeat("x", 16383)
	r.feed(request(1, false), data(1, false, chunk))
	expect(t, "a quarter of the connection's", r.output(), "WINDOW_UPDATE 0 16383")
	r.streams[0].s.Credit(20000) // more than there was
	expect(t, "a quarter of the stream's", r.output())
	r.feed(data(1, false, chunk))
	r.output()
	r.streams[0].s.Credit(16383)
	expect(t, "half of the stream's", r.output())
	r.streams[0].s.Credit(1)
	r.feed(data(1, false, "y"))
	r.streams[0].s.Credit(1)
	expect(t, "half of the stream's", r.output(), "WINDOW_UPDATE 1 32767")

	r.feed(raw(frameData, flagPadded, 1, "\x03\x00\x00\x00")) // 4 bytes of nothing
	s := r.c.streams.get(1)
	if s.owed != 4 || s.uncredited != 0 || r.c.owed != 5 {
		t.Errorf("padding: stream owes %d, connection %d", s.owed, r.c.owed)
	}
}

func TestPeerExceedsWindows(t *testing.T) {
	chunk := strings.Repeat("x", 16000)
	frames := [][]byte{request(1, false), data(1, false, chunk), data(1, false, chunk), data(1, false, chunk), data(1, false, chunk), data(1, false, chunk)}
	r := newServer(t, Options{Limits: Limits{StreamWindow: 65535}})
	r.accepted = func(rec *recorder) { rec.quiet = true }
	rule{frames: frames, out: []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}}.check(t, r)

	r = newServer(t, Options{})
	r.c.recvWin, r.c.owed = 16000, -1<<20 // as if it had got nothing back
	rule{frames: frames, err: message.FlowControlError, out: []string{"GOAWAY 1 FLOW_CONTROL_ERROR"}}.check(t, r)
}

// What is received on streams that ended counts, and is given back.
func TestWindowOfConnectionAfterReset(t *testing.T) {
	r := newServer(t, Options{ConnWindow: 65535})
	r.feed(request(1, false))
	r.streams[0].s.Reset(message.Cancel)
	r.output()
	r.feed(data(1, false, strings.Repeat("x", 16000)), data(1, false, strings.Repeat("x", 16000)))
	expect(t, "output", r.output(), "WINDOW_UPDATE 0 32000")
	if r.c.recvWin != 65535 {
		t.Errorf("window is %d", r.c.recvWin)
	}
}

// A stream that ended is not used again before its bytes are credited.
func TestCreditAfterEnd(t *testing.T) {
	pool := &Pool{}
	r := newServer(t, Options{Pool: pool})
	r.accepted = func(rec *recorder) { rec.quiet = true }
	r.feed(request(1, false), data(1, true, "abc"))
	s := r.streams[0].s
	s.SendHead(responseHead(200), true)
	r.feed()
	if len(pool.free) != 0 {
		t.Error("stream is free with 3 bytes outstanding")
	}
	s.Credit(2)
	s.Credit(1)
	s.Credit(5)
	if len(pool.ended) != 1 {
		t.Errorf("%d streams ended", len(pool.ended))
	}
	r.feed()
	r.feed(request(3, true))
	if r.streams[1].s != s {
		t.Error("the object was not used again")
	}
}

func TestHeaderBlockIsSplit(t *testing.T) {
	const limit = 16384
	for _, want := range []int{limit - 1, limit, limit + 1, 2*limit - 1, 2 * limit, 2*limit + 1, 5 * limit, 200000} {
		size, got := want-100, 0
		for range 2 { // the second time the block is as long as wanted
			value := strings.Repeat("\xff", size) // has no shorter Huffman code
			r := newClient(t, Options{})
			r.open(requestHead("big", value), true)
			frames := 0
			got, frames = checkSplit(t, r.w.out)
			r.framer.MaxHeaderListSize = 1 << 20
			expect(t, "output", r.output(), "HEADERS 1 :method=POST :scheme=http :path=/ :authority=a big="+value+" end")
			if size += want - got; got == want && frames != (want+limit-1)/limit {
				t.Errorf("%d frames for %d bytes", frames, want)
			}
		}
		if got != want {
			t.Errorf("the block has %d bytes, want %d", got, want)
		}
	}
}

// checkSplit checks the frames of one header block, and returns its length and
// their number.
func checkSplit(t *testing.T, out []byte) (length, frames int) {
	t.Helper()
	for p := out; len(p) > 0; p = p[frameHeaderLen+parseFrameHeader(p).length:] {
		f := parseFrameHeader(p)
		last := frameHeaderLen+f.length == len(p)
		if f.length > 16384 || f.length == 0 || f.has(flagEndHeaders) != last || (f.kind == frameHeaders) != (frames == 0) {
			t.Fatalf("frame %d is %+v, last %t", frames, f, last)
		}
		length += f.length
		frames++
	}
	return length, frames
}

func TestTableSizeOfThePeer(t *testing.T) {
	r := newRig(t, Options{}, false)
	r.feed(settings(settingTable, 0))
	r.framer.ReadMetaHeaders.SetMaxDynamicTableSize(0)
	r.output()
	h := requestHead("a", "b")
	for range 3 {
		r.open(h, true)
	}
	if n := len(r.output()); n != 3 {
		t.Errorf("%d frames", n)
	}
	r.feed(settings(settingTable, 4096))
	r.framer.ReadMetaHeaders.SetMaxDynamicTableSize(4096)
	r.output()
	for range 4 {
		r.open(h, true)
	}
	got := len(r.w.out)
	if n := len(r.output()); n != 4 {
		t.Errorf("%d frames", n)
	}
	r.open(h, true)
	if again := len(r.w.out); again*4 >= got {
		t.Errorf("a head takes %d bytes, four before %d: the table is not used", again, got)
	}
}
