// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// extendedConnect has Go's HTTP/2 server know RFC 8441, when it is in GODEBUG at
// the start of the process.
const extendedConnect = "http2xconnect=1"

// TestWebSocketOverHTTP2 is TestWebSocket over one stream of HTTP/2 for each
// WebSocket (RFC 8441). The library knows HTTP/1.1's upgrade alone: at either end
// its handshake is put into other words, its frames are its own.
func TestWebSocketOverHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), "GODEBUG="+extendedConnect)
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "FIGURE ") {
				fmt.Print(line)
			}
		}
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	dial := func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	var transport interface {
		http.RoundTripper
		CloseIdleConnections()
	} = &http2.Transport{AllowHTTP: true, DialTLSContext: dial} //nolint:staticcheck // SA1019: net/http's refuses to send the field ":protocol"
	t.Cleanup(transport.CloseIdleConnections)
	talk(t, "http2", http.HandlerFunc(acceptConnect), &http.Client{Transport: asConnect{transport}})
}

// asConnect sends an upgrade as an extended CONNECT, and gives the answer back as
// that of an upgrade.
type asConnect struct{ http2 http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a asConnect) RoundTrip(upgrade *http.Request) (*http.Response, error) {
	body, sent := io.Pipe()
	connect := upgrade.Clone(upgrade.Context())
	connect.Method, connect.Body = http.MethodConnect, body
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		connect.Header.Del(name)
	}
	connect.Header[":protocol"] = []string{"websocket"}
	res, err := a.http2.RoundTrip(connect)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	// RFC 6455, 4.2.2: what tells a client that it is understood.
	digest := sha1.Sum([]byte(upgrade.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	res.StatusCode = http.StatusSwitchingProtocols
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	res.Header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(digest[:]))
	res.Body = &duplex{Reader: res.Body, Writer: sent, closers: []io.Closer{sent, res.Body}}
	return res, nil
}

// duplex is both directions of a stream.
type duplex struct {
	io.Reader
	io.Writer
	closers []io.Closer
}

// Close implements io.Closer.
func (d *duplex) Close() error {
	for _, c := range d.closers {
		_ = c.Close()
	}
	return nil
}

// acceptConnect hands an extended CONNECT to echoMessages as an upgrade.
func acceptConnect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
		http.Error(w, "an extended CONNECT for websocket is wanted", http.StatusNotImplemented)
		return
	}
	upgrade := r.Clone(r.Context())
	upgrade.Method = http.MethodGet
	upgrade.Header.Del(":protocol")
	upgrade.Header.Set("Connection", "Upgrade")
	upgrade.Header.Set("Upgrade", "websocket")
	upgrade.Header.Set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	echoMessages(&hijacker{ResponseWriter: w, body: r.Body}, upgrade)
}

// hijacker gives a stream out as a connection.
type hijacker struct {
	http.ResponseWriter
	body io.ReadCloser
}

// WriteHeader implements http.ResponseWriter: what was 101 is 200, RFC 8441, 5.
func (h *hijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Accept"} {
			h.Header().Del(name)
		}
		status = http.StatusOK
	}
	h.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &streamConn{reader: h.body, writer: h.ResponseWriter, flush: http.NewResponseController(h.ResponseWriter).Flush}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), c.flush()
}

// streamConn is a stream with the methods of a connection. It has no deadlines;
// the library uses contexts.
type streamConn struct {
	reader io.ReadCloser
	writer io.Writer
	flush  func() error
}

func (c *streamConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

func (c *streamConn) Write(p []byte) (int, error) {
	n, err := c.writer.Write(p)
	if err != nil {
		return n, err
	}
	return n, c.flush()
}

func (c *streamConn) Close() error                     { return c.reader.Close() }
func (c *streamConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *streamConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }
