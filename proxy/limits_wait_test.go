// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// endpoint is an HTTP/2 server that says greeting to each client, acknowledges
// nothing, and answers each frame as on says.
func endpoint(t *testing.T, greeting func(w *wild), on func(w *wild, f http2.Frame)) netip.AddrPort {
	t.Helper()
	return listenTCP(t, func(c *net.TCPConn) {
		w := &wild{TCPConn: c}
		w.frames = http2.NewFramer(&w.out, c)
		greeting(w)
		c.Write(w.out.Bytes())
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		for {
			f, err := w.frames.ReadFrame()
			if err != nil {
				return
			}
			if w.out.Reset(); on != nil {
				on(w, f)
			}
			c.Write(w.out.Bytes())
		}
	})
}

// slowBody sends a body of HTTP/1 for an application that does not read it.
func slowBody(t *testing.T, r *sidecartest.Proxy) {
	c := dialTCP(t, r.Inbound)
	io.WriteString(c, "PUT /"+head+"Content-Length: 1000000000\r\n\r\n")
	piece := make([]byte, 64<<10)
	for hits(r, "unsent-bytes") == 0 || hits(r, "http1-window-bytes") == 0 {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(piece); err != nil {
			return
		}
	}
}

// deaf is an application that never reads.
func deaf(t *testing.T, o *proxy.Options) {
	o.Origin = sidecartest.Origin{Destination: listenTCP(t, func(c *net.TCPConn) { <-t.Context().Done() })}
}

var bodyScenarios = map[string]scenario{
	"http2-window-bytes": {
		func(t *testing.T, o *proxy.Options) {
			o.HTTP2.StreamWindow, o.ConnectTimeout, o.Origin = 65535, time.Second, sidecartest.Origin{Destination: blackHole(t)}
		},
		sends(func(w *wild) {
			w.request(1, "PUT", "/")
			for sent := 0; sent < 65535; sent += 13107 {
				w.frames.WriteData(1, false, make([]byte, 13107))
			}
		}),
	},
	"http1-window-bytes": {deaf, slowBody},
	"unsent-bytes":       {deaf, slowBody},
	"replay-bytes": {
		func(t *testing.T, o *proxy.Options) {
			o.Exchange.MaxReplay = 0
			o.Origin = sidecartest.Origin{Destination: endpoint(t, func(w *wild) { w.frames.WriteSettings() }, func(w *wild, f http2.Frame) {
				if f.Header().Type == http2.FrameData {
					w.frames.WriteRSTStream(f.Header().StreamID, http2.ErrCodeRefusedStream)
				}
			})}
		},
		sends(func(w *wild) {
			w.request(1, "PUT", "/")
			w.frames.WriteData(1, false, make([]byte, 1000))
		}),
	},
}

// moment is for timeouts that a test waits for.
const moment = 50 * time.Millisecond

var timeoutScenarios = map[string]scenario{
	"connect-timeout": {
		func(t *testing.T, o *proxy.Options) {
			o.ConnectTimeout, o.Origin = moment, sidecartest.Origin{Destination: blackHole(t)}
		},
		says("GET /" + head + "\r\n"),
	},
	"resolve-timeout": {
		func(t *testing.T, o *proxy.Options) {
			o.ResolveTimeout, o.Resolver, o.Origin = moment, sidecartest.ServiceAt(), sidecartest.Origin{Destination: closedAddr(t)}
		},
		func(t *testing.T, r *sidecartest.Proxy) { drain(dialTCP(t, r.Outbound)) },
	},
	"detect-timeout": {
		func(t *testing.T, o *proxy.Options) {
			o.DetectTimeout, o.Origin = moment, sidecartest.Origin{Destination: closedAddr(t)}
		},
		says(),
	},
	"handshake-timeout": {
		func(t *testing.T, o *proxy.Options) { withTLS(t, o); o.HandshakeTimeout = moment },
		says(partialHello),
	},
	"header-timeout": {
		func(_ *testing.T, o *proxy.Options) { o.Exchange.HeaderTimeout = moment },
		says("GET /" + head),
	},
	"settings-timeout": {
		func(_ *testing.T, o *proxy.Options) { o.Exchange.SettingsTimeout = moment },
		func(t *testing.T, r *sidecartest.Proxy) { drain(newWild(t, r.Inbound)) },
	},
	"http1-idle-timeout": {
		func(_ *testing.T, o *proxy.Options) { o.Exchange.IdleHTTP1 = moment },
		says("GET /" + head + "\r\n"),
	},
	"http2-idle-timeout": {
		func(_ *testing.T, o *proxy.Options) {
			o.Exchange.IdleHTTP2, o.Exchange.SettingsTimeout = moment, moment
		},
		sends(func(w *wild) { w.request(1, "GET", "/") }),
	},
	"idle-timeout": {
		func(_ *testing.T, o *proxy.Options) { o.IdleTimeout = moment },
		says("\x00\x01"),
	},
	"close-timeout": {
		func(_ *testing.T, o *proxy.Options) { o.CloseTimeout = moment },
		func(t *testing.T, r *sidecartest.Proxy) {
			w := newWild(t, r.Inbound, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			w.SetReadBuffer(4 << 10)
			w.frames.WriteSettingsAck()
			w.frames.WriteWindowUpdate(0, 1<<30)
			w.request(1, "GET", "/big")
			w.send(t)
			waitForHit(t, r, "unsent-bytes")
			w.frames.WriteRSTStream(0, http2.ErrCodeCancel) // which ends the connection
			w.send(t)
		},
	},
	"drain-timeout": {
		nil,
		func(t *testing.T, r *sidecartest.Proxy) {
			says("GET /hang"+head+"\r\n")(t, r)
			time.Sleep(moment) // until it has begun
			r.Stop(t)
		},
	},
}
