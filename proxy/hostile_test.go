// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// hostile is what a client may do to an HTTP/2 connection, and the code of the
// GOAWAY that it gets for it; with stream, of the RST_STREAM.
type hostile struct {
	code   http2.ErrCode
	stream bool
	frames func(w *wild)
}

const calm = http2.ErrCodeEnhanceYourCalm

// many is enough of what is limited, and little enough to be sent at once.
const many = 8000

var hostiles = map[string]hostile{
	"rapid reset (CVE-2023-44487)": {code: calm, frames: func(w *wild) {
		for id := uint32(1); id < many; id += 2 {
			w.request(id, "GET", "/")
			w.frames.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	}},
	"resets by errors (CVE-2025-8671)": {code: calm, frames: func(w *wild) {
		for id := uint32(1); id < many; id += 2 {
			w.request(id, "GET", "/hang")
			w.frames.WriteWindowUpdate(id, 0)
		}
	}},
	"malformed requests": {code: calm, frames: func(w *wild) {
		for id := uint32(1); id < many; id += 2 {
			w.request(id, "GET", "/", "connection", "close")
		}
	}},
	"ping flood (CVE-2019-9512)": {code: calm, frames: func(w *wild) {
		for range many {
			w.frames.WritePing(false, [8]byte{})
		}
	}},
	"settings flood (CVE-2019-9515)": {code: calm, frames: func(w *wild) {
		for range many {
			w.frames.WriteSettings()
		}
	}},
	"empty frames (CVE-2019-9518)": {code: calm, frames: func(w *wild) {
		w.request(1, "PUT", "/hang")
		for range many {
			w.frames.WriteData(1, false, nil)
		}
	}},
	"priorities (CVE-2019-9513)": {code: calm, frames: func(w *wild) {
		for i := range uint32(many) {
			w.frames.WritePriority(1, http2.PriorityParam{StreamDep: 3 + 2*i})
		}
	}},
	"continuations without end": {code: calm, frames: func(w *wild) {
		w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.block("GET", "/")})
		for range 100 {
			w.frames.WriteContinuation(1, false, nil)
		}
	}},
	"a head without end": {code: calm, frames: func(w *wild) {
		w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.block("GET", "/")})
		for range 20 {
			w.frames.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 16000))
		}
	}},
	"no HPACK": {code: http2.ErrCodeCompression, frames: func(w *wild) {
		w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
	}},
	"a frame that is too long": {code: http2.ErrCodeFrameSize, frames: func(w *wild) {
		w.request(1, "PUT", "/hang")
		w.frames.WriteData(1, false, make([]byte, 16385))
	}},
	"more than the window": {code: http2.ErrCodeFlowControl, stream: true, frames: func(w *wild) {
		w.request(1, "PUT", "/hang")
		for range 40 { // the application takes 64 KiB, the window is 256 KiB
			w.frames.WriteData(1, false, make([]byte, 16384))
		}
	}},
	"window overflow": {code: http2.ErrCodeFlowControl, frames: func(w *wild) {
		w.frames.WriteWindowUpdate(0, 1<<31-1)
	}},
	"stream of the server": {code: http2.ErrCodeProtocol, frames: func(w *wild) { w.request(2, "GET", "/") }},
	"frame on stream 0":    {code: http2.ErrCodeProtocol, frames: func(w *wild) { w.frames.WriteData(0, false, nil) }},
	"upper case":           {code: http2.ErrCodeProtocol, stream: true, frames: func(w *wild) { w.request(1, "GET", "/", "X", "y") }},
}

// TestHostileClients: each gets the error that RFC 9113 names, costs bounded
// memory, and a client of the same worker does not notice.
func TestHostileClients(t *testing.T) {
	in := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: newApp(t, &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10})}
	})
	client := clientTo(t, in.Inbound)
	var stop, bad, good atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for stop.Load() == 0 {
			res, err := client.Get("http://a/")
			if err != nil || res.StatusCode != http.StatusOK {
				bad.Add(1)
				continue
			}
			io.Copy(io.Discard, res.Body)
			good.Add(1)
		}
	}()
	before := heap()
	for name, h := range hostiles {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				h.check(t, newWild(t, in.Inbound))
			}
		})
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	stop.Store(1)
	<-ended
	if bad.Load() > 0 || good.Load() < 10 {
		t.Errorf("of the requests of another client %d were served and %d were not", good.Load(), bad.Load())
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools hold survives the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// check sends the frames, and reads until the connection ends, or the stream.
func (h hostile) check(t *testing.T, w *wild) {
	t.Helper()
	w.frames.WriteSettingsAck()
	h.frames(w)
	go w.Write(w.out.Bytes()) // it may be cut off
	w.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		f, err := w.frames.ReadFrame()
		if err != nil {
			t.Fatalf("no %v: %v", h.code, err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			if h.stream && f.ErrCode == h.code {
				return
			}
		case *http2.GoAwayFrame:
			if h.stream || f.ErrCode != h.code {
				t.Fatalf("GOAWAY says %v, want %v", f.ErrCode, h.code)
			}
			if _, err := w.frames.ReadFrame(); !errors.Is(err, io.EOF) {
				t.Fatalf("after GOAWAY: %v", err)
			}
			return
		}
	}
}

// TestBombIsRefused: a few bytes that stand for many cost one request.
func TestBombIsRefused(t *testing.T) {
	in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: newApp(t, nil)} })
	w := newWild(t, in.Inbound)
	w.frames.WriteSettingsAck()
	w.request(1, "GET", "/", "x", strings.Repeat("y", 3000))
	bomb := append(w.block("GET", "/"), bytes.Repeat([]byte{0xbe}, 16000)...) // what the table has first
	w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: bomb, EndHeaders: true, EndStream: true})
	w.request(5, "GET", "/")
	w.send(t)
	got := w.statuses(t, 3)
	if got[1] != "200" || got[3] != "431" || got[5] != "200" {
		t.Errorf("statuses are %v", got)
	}
	for _, parts := range [][]string{{"requests_total{", `class="4xx"`}, {"errors_total{", `reason="header-too-large"`}} {
		if n := count(in, parts...); n != 1 {
			t.Errorf("%q are %d, want 1", parts, n)
		}
	}
}

// TestSlowReaders: clients that ask for much and read nothing cost what the limits
// say, and the worker has time for others.
func TestSlowReaders(t *testing.T) {
	const n = 20
	in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: newApp(t, nil)} })
	before := heap()
	for range n {
		w := newWild(t, in.Inbound, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		w.frames.WriteSettingsAck()
		w.frames.WriteWindowUpdate(0, 1<<30)
		for id := uint32(1); id < 20; id += 2 {
			w.request(id, "GET", "/big")
		}
		w.send(t)
		io.WriteString(dialTCP(t, in.Inbound), "GET /big"+head+"\r\n")
	}
	for end := time.Now().Add(10 * time.Second); hits(in, "unsent-bytes") < 2*n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("of %d clients %d have stopped the application", 2*n, hits(in, "unsent-bytes"))
		}
	}
	time.Sleep(200 * time.Millisecond) // no more shall come
	// On HTTP/2 beside what is unsent a window for each of the ten streams.
	const each = 10*(256<<10) + 3*(256<<10)
	if grown := int64(heap()) - int64(before); grown > n*(each+1<<20) {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	res, err := clientTo(t, in.Inbound).Get("http://a/")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("another client: %v, %v", res, err)
	}
}
