// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// dialTCP connects, until the end of the test.
func dialTCP(t *testing.T, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.SetLinger(0)
		c.Close()
	})
	return c
}

// wild is an HTTP/2 client that need not keep to any rule.
type wild struct {
	*net.TCPConn
	out    bytes.Buffer // of frames that are not sent yet
	frames *http2.Framer
	fields bytes.Buffer
	hpack  *hpack.Encoder
}

// newWild connects, with the preface and SETTINGS. It acknowledges nothing.
func newWild(t *testing.T, addr netip.AddrPort, settings ...http2.Setting) *wild {
	t.Helper()
	w := &wild{TCPConn: dialTCP(t, addr)}
	w.frames = http2.NewFramer(&w.out, w.TCPConn)
	w.frames.AllowIllegalWrites = true
	w.hpack = hpack.NewEncoder(&w.fields)
	w.out.WriteString(http2.ClientPreface)
	w.frames.WriteSettings(settings...)
	w.send(t)
	return w
}

// send writes the frames that there are at once.
func (w *wild) send(t *testing.T) {
	t.Helper()
	if _, err := w.Write(w.out.Bytes()); err != nil {
		t.Fatal(err)
	}
	w.out.Reset()
}

// block is an encoded head.
func (w *wild) block(method, path string, nv ...string) []byte {
	w.fields.Reset()
	all := append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "a"}, nv...)
	for i := 0; i < len(all); i += 2 {
		w.hpack.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return bytes.Clone(w.fields.Bytes())
}

// request adds a whole head.
func (w *wild) request(id uint32, method, path string, nv ...string) {
	w.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.block(method, path, nv...), EndHeaders: true, EndStream: method == "GET"})
}

// statuses waits for the heads of n answers, by stream.
func (w *wild) statuses(t *testing.T, n int) map[uint32]string {
	t.Helper()
	w.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.SetReadDeadline(time.Now().Add(5 * time.Second))
	got := map[uint32]string{}
	for len(got) < n {
		f, err := w.frames.ReadFrame()
		if err != nil {
			t.Fatalf("after the statuses %v: %v", got, err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			got[h.StreamID] = h.PseudoValue("status")
		}
	}
	return got
}

// drain reads all that comes, so that only the rest of the proxy is slow.
func drain(c net.Conn) { go io.Copy(io.Discard, c) }

// newApp is an application that speaks both protocols: /hang never answers, /big
// never ends.
func newApp(t *testing.T, o *http.HTTP2Config) netip.AddrPort {
	t.Helper()
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/big":
			for piece := make([]byte, 64<<10); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}
	}))
	app.Config.Protocols, app.Config.HTTP2 = new(http.Protocols), o
	app.Config.Protocols.SetHTTP1(true)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(func() {
		app.CloseClientConnections()
		app.Close()
	})
	return sidecartest.AddrOf(app.Listener)
}

// blackHole is an address that does not answer: its backlog is full.
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctl := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	for range 5 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond)
		if err != nil {
			return sidecartest.AddrOf(l)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return netip.AddrPort{}
}
