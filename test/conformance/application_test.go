// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// application answers every request, over HTTP/2 alone: a client that begins with
// something else is relayed to it as TCP, and an application that knew HTTP/1
// too would answer in that.
func application(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An answer before the request is whole would end it, whatever follows.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("the answer of the application\n"))
	})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				if p := (&polite{Conn: c}); p.speaksHTTP2() {
					new(http2.Server).ServeConn(p, &http2.ServeConnOpts{Handler: handler}) //nolint:staticcheck // SA1019: net/http's server answers in HTTP/1 as well
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return sidecartest.AddrOf(l)
}

// polite is a connection that is closed in order when it is not HTTP/2. To close
// it with input unread would reset it, and the proxy passes resets on as such,
// which h2spec takes for something else than an end.
type polite struct {
	net.Conn
	begun []byte
}

func (p *polite) speaksHTTP2() bool {
	begun := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.Conn, begun); err == nil && string(begun) == http2.ClientPreface {
		p.begun = begun
		return true
	}
	p.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = io.Copy(io.Discard, p.Conn)
	p.Close()
	return false
}

func (p *polite) Read(b []byte) (int, error) {
	if len(p.begun) > 0 {
		n := copy(b, p.begun)
		p.begun = p.begun[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
