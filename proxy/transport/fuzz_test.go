// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fuzzMessages is what the recorded session says: records of many lengths, in
// their own flights.
var fuzzMessages = [][]byte{
	[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	bytes.Repeat([]byte{1}, 300),
	{2},
	bytes.Repeat([]byte{3}, 20_000),
	[]byte("the end"),
}

// FuzzOpen changes the bytes of a session and cuts them anywhere. Whatever
// arrives, plaintext is a beginning of what was sent, all of it when nothing was
// changed, and an error is final.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{}, []byte{1})
	f.Add([]byte{}, []byte{5, 1, 200, 17})
	f.Add([]byte{0, 10, 0, 1}, []byte{100})             // flip a bit of the first record
	f.Add([]byte{1, 0, 3, 0x40}, []byte{})              // cut at 3
	f.Add([]byte{2, 0, 0, 90}, []byte{33})              // repeat the beginning
	f.Add([]byte{3, 0, 0, 51}, []byte{2})               // drop the first record
	f.Add([]byte{4, 1, 0, 255, 0, 3, 0, 2}, []byte{30}) // insert, flip a length
	w := newWorld(f)
	server := w.serverConfig(f, ServerOptions{})
	client := w.client.Client(ClientOptions{ServerName: serverName})
	// A handshake covers other code each time, and would make every second input
	// look interesting. So most inputs find one that is ready.
	sessions := make([][2]*TLS, 0, 64)
	f.Fuzz(func(t *testing.T, changes, cuts []byte) {
		if len(sessions) == 0 {
			for range cap(sessions) {
				receiver, sender := inMemory(t, server, client)
				sessions = append(sessions, [2]*TLS{receiver, sender})
			}
		}
		last := len(sessions) - 1
		receiver, sender := sessions[last][0], sessions[last][1]
		sessions = sessions[:last]
		var p, sent []byte
		for _, m := range fuzzMessages {
			var err error
			if p, err = sender.Seal(p, m); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, m...)
		}
		original := bytes.Clone(p)
		p = change(p, changes)
		got, err := openInPieces(t, receiver, p, cuts)
		if !bytes.HasPrefix(sent, got) {
			t.Fatalf("got %d bytes that were not sent", len(got))
		}
		if bytes.Equal(p, original) && (err != nil || len(got) != len(sent)) {
			t.Fatalf("got %d of %d bytes, %v", len(got), len(sent), err)
		}
		end := receiver.End()
		if receiver.CloseNotified() {
			t.Fatal("a close_notify that was not sent")
		}
		if err != nil && end != err { //nolint:errorlint // the same one
			t.Fatalf("Open: %v, then End: %v", err, end)
		}
		if _, err := receiver.Seal(nil, nil); err != nil {
			t.Fatalf("flush: %v", err)
		}
		receiver.Close(nil)
	})
}

// inMemory makes a connection without sockets or goroutines but one.
func inMemory(t testing.TB, server, client *tls.Config) (s, c *TLS) {
	t.Helper()
	s, c = &TLS{}, &TLS{}
	a, b := newDuplex()
	c.conn, s.conn = tls.Client(a, client), tls.Server(b, server)
	done := make(chan error, 1)
	go func() { done <- c.conn.Handshake() }()
	if err := s.conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.Conn, b.Conn = &c.wire, &s.wire
	return s, c
}

// openInPieces feeds p in pieces of these lengths, again and again.
func openInPieces(t *testing.T, r *TLS, p, cuts []byte) (got []byte, err error) {
	t.Helper()
	for i := 0; len(p) > 0; i++ {
		n := len(p)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])*4+1)
		}
		err = r.Open(p[:n], func(plain []byte) error {
			if len(plain) == 0 {
				t.Fatal("empty plaintext")
			}
			got = append(got, plain...)
			return nil
		})
		if err != nil {
			return got, err
		}
		p = p[n:]
	}
	return got, nil
}

// change applies groups of 4 bytes: what, where (2), and with what.
func change(p, changes []byte) []byte {
	for ; len(changes) >= 4 && len(p) > 0 && len(p) < 1<<20; changes = changes[4:] {
		at, x := int(binary.BigEndian.Uint16(changes[1:]))%len(p), changes[3]
		end := min(len(p), at+int(x))
		switch changes[0] % 5 {
		case 0:
			p[at] ^= x
		case 1:
			p = p[:at]
		case 2:
			p = slices.Insert(p, at, bytes.Clone(p[at:end])...)
		case 3:
			p = slices.Delete(p, at, end)
		case 4:
			p = slices.Insert(p, at, x)
		}
	}
	return p
}

// FuzzSPIFFE compares with the grammar of the standard.
func FuzzSPIFFE(f *testing.F) {
	for _, s := range []string{
		serverID, "spiffe://td", "spiffe://td/", "spiffe://TD/a", "spiffe:///a", "spiffe://td/a/../b", "spiffe://td//a", "spiffe://td/a?b",
		"spiffe://td/a#", "spiffe://td:80/a", "spiffe://u@td/a", "spiffe://td/%61", "spiffe://td/a?", "spiffe:td/a", "SPIFFE://td/a", "spiffe://td/ü",
		"spiffe://" + strings.Repeat("a", 256), "spiffe://td/" + strings.Repeat("a", 2048), "spiffe://td/...", "https://td/a", "spiffe://[::1]/a",
	} {
		f.Add(s)
	}
	grammar := regexp.MustCompile(`^spiffe://[a-z0-9._-]{1,255}(/[a-zA-Z0-9._-]+)*$`)
	dots := regexp.MustCompile(`/\.\.?(/|$)`)
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		s = u.String() // certificates hold what url makes of them
		path := strings.TrimPrefix(s, "spiffe://")
		want := grammar.MatchString(s) && !dots.MatchString(path) && len(s) <= 2048
		if got := validSPIFFE(u); got != want {
			t.Errorf("%q is valid: %v, want %v", s, got, want)
		}
	})
}
