// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"
)

var bodies = []int{0, 1, 100, 16383, 16384, 16385, 70_000, 1 << 20}

// chunks are ways to cut what comes from a socket.
var chunks = map[string]func() int{
	"whole":    nil,
	"bytes":    func() int { return 1 },
	"sixes":    func() int { return headerSize + 1 },
	"anywhere": func() int { return 1 + rand.IntN(3000) },
}

// TestBodies sends bodies both ways between ours and crypto/tls as others use
// it, in both roles and versions, and checks their hashes.
func TestBodies(t *testing.T) {
	w := newWorld(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, server := range []bool{true, false} {
			for name, chunk := range chunks {
				t.Run(fmt.Sprintf("%s/server=%v/%s", tls.VersionName(version), server, name), func(t *testing.T) {
					t.Parallel()
					ours, theirs := foreign(t, w, server, version)
					ours.chunk = chunk
					sizes := bodies
					if chunk != nil && chunk() < 10 {
						sizes = bodies[:len(bodies)-1] // a MiB takes too long
					}
					echoAll(t, ours, theirs, sizes)
				})
			}
		}
	}
}

// foreign returns a connection of which the peer is a tls.Conn. As server that
// one sends session tickets, which ours must pass over.
func foreign(t *testing.T, w *world, server bool, version uint16) (*relay, *tls.Conn) {
	t.Helper()
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{Clients: OptionalClientCertificate})})
	a, b := sockets(t)
	result := make(chan Result, 1)
	client := w.client.Client(ClientOptions{ServerName: serverName})
	client.MaxVersion = version
	var peer *tls.Conn
	if server {
		h.Server(a, nil, func(r Result) { result <- r })
		peer = tls.Client(b, client)
	} else {
		h.Client(a, client, func(r Result) { result <- r })
		peer = tls.Server(b, &tls.Config{Certificates: []tls.Certificate{*w.server.current.Load().pair}, NextProtos: []string{HTTP2}})
	}
	if err := peer.Handshake(); err != nil {
		t.Fatal(err)
	}
	r := (<-result).must(t)
	return &relay{conn: r.Conn, tls: r.Transport}, peer
}

// echoAll sends the bodies through ours and back, one by one, then closes in
// order.
func echoAll(t *testing.T, ours *relay, peer *tls.Conn, sizes []int) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		err := ours.run(func(plain, out []byte) []byte { return append(out, plain...) })
		if err == nil {
			err = ours.finish()
		}
		ended <- err
	}()
	if err := peer.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		sent := make(chan error, 1)
		go func() {
			_, err := peer.Write(body)
			sent <- err
		}()
		got := make([]byte, n)
		_, err := io.ReadFull(peer, got)
		if sendErr := <-sent; err != nil || sendErr != nil || sha256.Sum256(got) != sha256.Sum256(body) {
			t.Fatalf("%d bytes: %v, %v, or they differ", n, sendErr, err)
		}
	}
	if err := peer.CloseWrite(); err != nil {
		t.Error(err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the end is %d, %v", n, err)
	}
	if err := <-ended; err != nil || !ours.tls.CloseNotified() {
		t.Errorf("ours ends with %v, close_notify: %v", err, ours.tls.CloseNotified())
	}
}

// TestBothEnds: TLS on both sides, and the scratch of a worker is shared.
func TestBothEnds(t *testing.T) {
	w := newWorld(t)
	s, c := shake(t, w.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate}), w.client.Client(ClientOptions{ServerName: serverName}))
	server, client := s.must(t).Transport, c.must(t).Transport
	shared := new(Scratch)
	server.Share(shared)
	client.Share(shared)
	for _, n := range append(bodies, 5<<20) {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		got := body
		for _, hop := range [][2]*TLS{{client, server}, {server, client}} {
			sealed, err := hop[0].Seal(nil, got)
			if err != nil {
				t.Fatal(err)
			}
			got = nil
			if err := hop[1].Open(sealed, func(p []byte) error { got = append(got, p...); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if sha256.Sum256(got) != sha256.Sum256(body) {
			t.Errorf("%d bytes differ", n)
		}
	}
}

// TestRecordsAreFull: DynamicRecordSizingDisabled is in force.
func TestRecordsAreFull(t *testing.T) {
	eachRole(t, func(e *edge) {
		out, err := e.tls.Seal(nil, make([]byte, 3*len(Scratch{})))
		if err != nil {
			e.t.Fatal(err)
		}
		for len(out) > 0 {
			var plain []byte
			if _, plain, out = e.recv.open(e.t, out); len(plain) != len(Scratch{}) {
				e.t.Errorf("a record has %d bytes", len(plain))
			}
		}
	})
}
