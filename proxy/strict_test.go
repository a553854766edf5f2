// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// TestStrictCountsWordsAlone: of connections to an inbound that serves TLS alone,
// one that ends without a word is no plaintext that was refused; one with a word
// is.
func TestStrictCountsWordsAlone(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	in := inboundTLS(t, app, sidecartest.NewFiles(t), proxy.TLSStrict, transport.NoClientCertificate)
	for _, word := range []string{"", "plaintext\r\n"} {
		c, err := net.Dial("tcp", in.Inbound.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, word); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite() // who is refused may be so already
		_, _ = io.Copy(io.Discard, c)     // until the proxy ends it, in order or by a reset
		c.Close()
		var metrics bytes.Buffer
		in.Options.Stats.WritePrometheus(&metrics)
		if refused := strings.Contains(metrics.String(), "plaintext-refused"); refused != (word != "") {
			t.Errorf("after %q: counted as refused plaintext: %v", word, refused)
		}
	}
}
