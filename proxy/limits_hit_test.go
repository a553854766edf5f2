// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// scenario has a proxy hit a limit, in front of the application that change sets
// as origin, or of newApp.
type scenario struct {
	change  func(t *testing.T, o *proxy.Options)
	provoke func(t *testing.T, r *sidecartest.Proxy)
}

// TestLimitsAreCounted: each limit of the table is hit, and counts.
func TestLimitsAreCounted(t *testing.T) {
	all := map[string]scenario{}
	for _, some := range []map[string]scenario{connectionScenarios, headScenarios, frameScenarios, bodyScenarios, timeoutScenarios, metricsScenarios} {
		for name, s := range some {
			all[name] = s
		}
	}
	o := proxy.DefaultOptions()
	for _, l := range o.Limits() {
		if l.Name == "descriptors" {
			continue // TestOutOfDescriptors: it takes a process of its own
		}
		t.Run(string(l.Name), func(t *testing.T) {
			s, ok := all[string(l.Name)]
			if !ok {
				t.Fatal("nobody knows how to hit it")
			}
			r := sidecartest.Start(t, func(o *proxy.Options) {
				o.DrainTimeout = 50 * time.Millisecond
				o.Origin = sidecartest.Origin{Destination: newApp(t, nil)}
				if s.change != nil {
					s.change(t, o)
				}
			})
			if n := hits(r, string(l.Name)); n != 0 {
				t.Fatalf("hit %d times in advance", n)
			}
			s.provoke(t, r)
			waitForHit(t, r, string(l.Name))
		})
	}
}

// hits is how often a limit was hit, in both directions.
func hits(r *sidecartest.Proxy, name string) int {
	return count(r, "limit_hits_total{", fmt.Sprintf("limit=%q", name))
}

// count is the sum of the metrics whose names have all of these parts.
func count(r *sidecartest.Proxy, parts ...string) int {
	var b bytes.Buffer
	r.Options.Stats.WritePrometheus(&b)
	return sumOf(b.String(), parts...)
}

func sumOf(metrics string, parts ...string) (sum int) {
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(name, part) }) {
			n, _ := strconv.Atoi(value)
			sum += n
		}
	}
	return sum
}

func waitForHit(t *testing.T, r *sidecartest.Proxy, name string) {
	t.Helper()
	for end := time.Now().Add(8 * time.Second); hits(r, name) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not counted")
		}
	}
}

// says has a client connect and say something.
func says(what ...string) func(*testing.T, *sidecartest.Proxy) {
	return func(t *testing.T, r *sidecartest.Proxy) {
		c := dialTCP(t, r.Inbound)
		io.WriteString(c, strings.Join(what, ""))
		drain(c)
	}
}

// sends has an HTTP/2 client send frames, all at once.
func sends(frames func(w *wild)) func(*testing.T, *sidecartest.Proxy) {
	return func(t *testing.T, r *sidecartest.Proxy) {
		w := newWild(t, r.Inbound)
		w.frames.WriteSettingsAck()
		frames(w)
		w.send(t)
		drain(w)
	}
}

const head = " HTTP/1.1\r\nHost: a\r\n"

// partialHello is the beginning of a TLS handshake that does not go on.
const partialHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

func withTLS(t *testing.T, o *proxy.Options) {
	o.TLS.Files, o.TLS.Inbound = sidecartest.NewFiles(t), proxy.TLSPermissive
}

var connectionScenarios = map[string]scenario{
	"connections": {
		func(_ *testing.T, o *proxy.Options) { o.MaxConnections = 1 },
		says("GET /hang" + head + "\r\n"),
	},
	"handshakes": {
		func(t *testing.T, o *proxy.Options) { withTLS(t, o); o.MaxHandshakes = 1 },
		func(t *testing.T, r *sidecartest.Proxy) { says(partialHello)(t, r); says(partialHello)(t, r) },
	},
	"endpoint-connections": {
		func(t *testing.T, o *proxy.Options) {
			o.Exchange.MaxEndpointConns = 1
			o.Origin = sidecartest.Origin{Destination: endpoint(t, func(w *wild) {
				w.frames.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			}, nil)}
		},
		func(t *testing.T, r *sidecartest.Proxy) {
			for range 3 { // the first may be on its way before the SETTINGS are
				sends(func(w *wild) { w.request(1, "GET", "/hang") })(t, r)
				time.Sleep(20 * time.Millisecond)
			}
		},
	},
}

var headScenarios = map[string]scenario{
	"header-bytes": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP1.MaxHeaderBytes = 1024 },
		says("GET /"+head, "X: ", strings.Repeat("x", 2000), "\r\n\r\n"),
	},
	"header-fields": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP1.MaxFields = 8 },
		says("GET /"+head, strings.Repeat("X: y\r\n", 10), "\r\n"),
	},
	"interim-responses": {
		func(t *testing.T, o *proxy.Options) {
			o.HTTP1.MaxInterim = 1
			o.Origin = sidecartest.Origin{Destination: listenTCP(t, func(c *net.TCPConn) {
				c.Read(make([]byte, 1))
				io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3))
				io.Copy(io.Discard, c)
			})}
		},
		says("GET /" + head + "\r\n"),
	},
	"chunk-extension-bytes": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP1.MaxExtension = 10 },
		says("PUT /"+head, "Transfer-Encoding: chunked\r\n\r\n1;a=0123456789\r\n"),
	},
	"pipelined-bytes": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP1.MaxPipelined = 1024 },
		says("GET /hang"+head+"\r\n", strings.Repeat("GET /"+head+"\r\n", 50)),
	},
}

var frameScenarios = map[string]scenario{
	"streams": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP2.MaxStreams = 1 },
		sends(func(w *wild) { w.request(1, "GET", "/hang"); w.request(3, "GET", "/hang") }),
	},
	"continuations": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP2.MaxContinuations = 1 },
		sends(func(w *wild) {
			w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.block("GET", "/")})
			w.frames.WriteContinuation(1, false, nil)
			w.frames.WriteContinuation(1, false, nil)
		}),
	},
	"stream-resets": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP2.MaxResets = 1 },
		sends(func(w *wild) {
			for id := uint32(1); id < 9; id += 2 {
				w.request(id, "GET", "/hang")
				w.frames.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		}),
	},
	"control-frames": {
		func(_ *testing.T, o *proxy.Options) { o.HTTP2.MaxControl = 100 },
		sends(func(w *wild) {
			for range 300 {
				w.frames.WritePing(false, [8]byte{})
			}
		}),
	},
	"output-bytes": {
		func(_ *testing.T, o *proxy.Options) {
			o.HTTP2.MaxOutput, o.MaxUnsent, o.HTTP2.MaxControl = 64<<10, 32<<10, 1<<20
		},
		func(t *testing.T, r *sidecartest.Proxy) {
			w := newWild(t, r.Inbound)
			w.SetReadBuffer(4 << 10)
			for range 4000 {
				w.frames.WritePing(false, [8]byte{})
			}
			for hits(r, "output-bytes") == 0 { // it reads none of the answers
				w.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := w.Write(w.out.Bytes()); err != nil {
					return
				}
			}
		},
	},
}
