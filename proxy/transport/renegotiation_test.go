// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// TestRenegotiation of TLS 1.2 is refused, and ends the connection.
func TestRenegotiation(t *testing.T) {
	w := newWorld(t)
	helloRequest := []byte{0, 0, 0, 0}
	for name, test := range map[string]struct {
		server  bool
		message []byte
	}{
		"client gets HelloRequest": {false, helloRequest},
		"server gets ClientHello":  {true, clientHello(t)},
		"server gets HelloRequest": {true, helloRequest},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, w, test.server, tls.VersionTLS12)
			e.want(e.open(e.send.record(nil, dataRecord, []byte("fine")...)), "fine")
			for _, b := range test.message[:len(test.message)-1] { // in as many records
				e.want(e.open(e.send.record(nil, handshakeRecord, b)), "")
			}
			err := e.open(e.send.record(nil, handshakeRecord, test.message[len(test.message)-1]))
			if err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("Open: %v", err)
			}
			if len(e.pending()) == 0 {
				t.Error("no alert is pending")
			}
		})
	}
}

// clientHello returns the message that crypto/tls begins with.
func clientHello(t *testing.T) []byte {
	t.Helper()
	var w wire
	config := base(nil)
	config.ServerName, config.MaxVersion = serverName, tls.VersionTLS12
	// It fails as soon as it reads.
	if err := tls.Client(&w, config).Handshake(); !errors.Is(err, errWouldBlock) {
		t.Fatal(err)
	}
	return w.out[headerSize:]
}

// TestHandshakeErrorIsSticky is why handshakes have goroutines: crypto/tls can't
// be given more input after the wire has blocked once.
func TestHandshakeErrorIsSticky(t *testing.T) {
	w := &wire{}
	conn := tls.Server(w, base(nil))
	first := conn.Handshake()
	w.in = []byte{handshakeRecord}
	if second := conn.Handshake(); !errors.Is(first, errWouldBlock) || second != first || len(w.in) != 1 { //nolint:errorlint // the same one
		t.Errorf("Handshake: %v, then %v, and %d bytes are left (crypto/tls has learnt to resume?)", first, second, len(w.in))
	}
}
