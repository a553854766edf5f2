// SPDX-License-Identifier: Apache-2.0

package sniff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/sniff"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func TestClient(t *testing.T) {
	tests := []struct {
		name, in string
		want     sniff.Protocol
	}{
		{"nothing", "", sniff.More},
		{"preface", preface, sniff.HTTP2},
		{"preface and more", preface + "\x00\x00\x00", sniff.HTTP2},
		{"preface cut", preface[:23], sniff.More},
		{"preface broken", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", sniff.Opaque},
		{"request", "GET / HTTP/1.1\r\n", sniff.HTTP1},
		{"HTTP/1.0", "GET / HTTP/1.0\n", sniff.HTTP1},
		{"own method", "M-SEARCH * HTTP/1.1\r\n", sniff.HTTP1},
		{"absolute form", "GET HTTP://a/ HTTP/1.1\r\n", sniff.HTTP1},
		{"absolute form cut", "GET ht", sniff.More},
		{"line cut", "POST /x HTTP/1.", sniff.More},
		{"method cut", "PO", sniff.More},
		{"method and space", "POST ", sniff.More},
		{"long line", "GET /" + strings.Repeat("a", 3000), sniff.HTTP1},
		{"long binary line", "GET /" + strings.Repeat("\x00", 3000), sniff.Opaque},
		{"HTTP/0.9", "GET /\r\n", sniff.Opaque},
		{"tunnel", "CONNECT a:443 HTTP/1.1\r\n", sniff.Opaque},
		{"redis inline", "GET key\r\n", sniff.Opaque},
		{"redis inline path", "GET /key\r\n", sniff.Opaque},
		{"redis", "*1\r\n$4\r\nPING\r\n", sniff.Opaque},
		{"memcached", "get key\r\n", sniff.Opaque},
		{"nats", "CONNECT {\"verbose\":false}\r\n", sniff.Opaque},
		{"long word", strings.Repeat("A", 21), sniff.Opaque},
		{"space first", " GET / HTTP/1.1\r\n", sniff.Opaque},
		{"TLS", "\x16\x03\x01\x02\x00\x01", sniff.TLS},
		{"TLS cut", "\x16", sniff.More},
		{"not TLS", "\x16\x02", sniff.Opaque},
		{"postgres", "\x00\x00\x00\x08\x04\xd2\x16\x2f", sniff.Opaque},
	}
	for _, tt := range tests {
		if got := sniff.Client([]byte(tt.in)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestServerMaybeHTTP2(t *testing.T) {
	tests := []struct {
		name, in string
		want     bool
	}{
		{"nothing", "", true},
		{"empty frame", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", true},
		{"one setting", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03", true},
		{"cut", "\x00\x00", true},
		{"length not in sixes", "\x00\x00\x05\x04", false},
		{"acknowledgement", "\x00\x00\x00\x04\x01", false},
		{"stream 1", "\x00\x00\x00\x04\x00\x00\x00\x00\x01", false},
		{"huge", "\x00\xff\xfc\x04", false},
		{"mysql greeting", "\x4a\x00\x00\x00\x0a8.0", false},
		{"ssh", "SSH-2.0-", false},
		{"nats", "INFO {", false},
	}
	for _, tt := range tests {
		if got := sniff.ServerMaybeHTTP2([]byte(tt.in)); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

func ExampleClient() {
	fmt.Println(sniff.Client([]byte("GET / HTTP/1.1\r\n")))
	// Output: http1
}

// FuzzClient holds what the detector relies on: a final verdict stays when
// more bytes arrive, and MaxBytes are always enough for one.
func FuzzClient(f *testing.F) {
	f.Add([]byte(preface), 5)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 3)
	f.Add([]byte("\x16\x03\x01"), 1)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		whole := sniff.Client(in)
		if early := sniff.Client(in[:cut]); early != sniff.More && early != whole {
			t.Fatalf("%q: %v after %d bytes, then %v", in, early, cut, whole)
		}
		if whole == sniff.More && len(in) >= sniff.MaxBytes {
			t.Fatalf("no verdict after %d bytes", len(in))
		}
	})
}

func FuzzServerMaybeHTTP2(f *testing.F) {
	f.Add([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00"), 4)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		if sniff.ServerMaybeHTTP2(in) && !sniff.ServerMaybeHTTP2(in[:cut]) {
			t.Fatalf("%q: ruled out after %d bytes, then not", in, cut)
		}
	})
}
