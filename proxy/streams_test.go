// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// TestFewStreamsAllowed: many requests at once for an application that allows
// few streams on a connection, and says so when they are on their way already.
// It refuses those above; they are sent again, not to be refused again.
func TestFewStreamsAllowed(t *testing.T) {
	const atOnce = 40
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(5 * time.Millisecond) // so that streams are open together
	}))
	app.Listener = lateListener{app.Listener}
	app.Config.Protocols = unencryptedHTTP2()
	app.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
	app.Start()
	t.Cleanup(app.Close)
	transport := &http.Transport{Protocols: unencryptedHTTP2()}
	t.Cleanup(transport.CloseIdleConnections)
	in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: sidecartest.AddrOf(app.Listener)} })
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			res, err := (&http.Client{Transport: transport}).Get("http://" + in.Inbound.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s, %s", res.Status, res.Header.Get("shunt-error"))
			}
		})
	}
	clients.Wait()
	var metrics bytes.Buffer
	in.Options.Stats.WritePrometheus(&metrics)
	if !bytes.Contains(metrics.Bytes(), []byte(`retries_total{direction="inbound",reason="refused-stream"}`)) {
		t.Error("the application refused no stream: nothing was tested")
	}
}

// lateListener has servers say their first word late.
type lateListener struct{ net.Listener }

func (l lateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &lateConn{Conn: c}, err
}

type lateConn struct {
	net.Conn
	first sync.Once
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.first.Do(func() { time.Sleep(50 * time.Millisecond) })
	return c.Conn.Write(p)
}

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}
