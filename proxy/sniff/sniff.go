// SPDX-License-Identifier: Apache-2.0

// Package sniff tells a protocol from the first bytes of a connection. It is
// pure: it looks at bytes, never waits, and never fails.
package sniff

import (
	"bytes"
	"slices"
)

// Protocol is a verdict on what a client speaks.
type Protocol int

// The verdicts. More means that the bytes fit HTTP so far; every other verdict
// is final.
const (
	More   Protocol = iota
	HTTP2           // the connection preface, whole (RFC 9113, 3.4)
	HTTP1           // a request line (RFC 9112, 3)
	TLS             // a handshake record (RFC 8446, 5.1)
	Opaque          // anything else
)

// String names a verdict for logs and metrics.
func (p Protocol) String() string {
	return [...]string{More: "more", HTTP2: "http2", HTTP1: "http1", TLS: "tls", Opaque: "opaque"}[p]
}

// MaxBytes is how many bytes of a client are enough for a final verdict.
const MaxBytes = 2048

// maxMethod is longer than any registered method (UPDATEREDIRECTREF has 17).
const maxMethod = 20

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Client judges what the client has sent so far.
func Client(b []byte) Protocol {
	switch {
	case len(b) == 0:
		return More
	case len(b) >= len(preface) && string(b[:len(preface)]) == preface:
		return HTTP2
	case len(b) < len(preface) && preface[:len(b)] == string(b):
		return More
	case b[0] == 0x16:
		return handshake(b)
	default:
		return requestLine(b)
	}
}

// handshake: content type 22, then major version 3.
func handshake(b []byte) Protocol {
	switch {
	case len(b) == 1:
		return More
	case b[1] == 3:
		return TLS
	default:
		return Opaque
	}
}

// requestLine wants the whole line, since redis inline commands, memcached,
// NATS and STOMP have upper-case words and spaces too. CONNECT is opaque: a
// tunnel is relayed better than it is parsed.
func requestLine(b []byte) Protocol {
	method, rest, found := bytes.Cut(b[:min(len(b), MaxBytes)], []byte(" "))
	if len(method) > maxMethod || len(method) == 0 || !isMethod(method) || string(method) == "CONNECT" {
		return Opaque
	}
	if !found || len(rest) == 0 {
		return More
	}
	if !startsTarget(rest) {
		return Opaque
	}
	line, _, found := bytes.Cut(rest, []byte("\n"))
	if slices.ContainsFunc(line, isControl) {
		return Opaque // whole or not, so that the verdict is the same for both
	}
	if found {
		return lineEnd(bytes.TrimSuffix(line, []byte("\r")))
	}
	if len(b) >= MaxBytes {
		return HTTP1 // nothing else has a line like this
	}
	return More
}

func lineEnd(line []byte) Protocol {
	if bytes.HasSuffix(line, []byte(" HTTP/1.1")) || bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
		return HTTP1
	}
	return Opaque
}

func isControl(c byte) bool { return c < ' ' && c != '\r' || c == 0x7f }

func isMethod(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// startsTarget: origin form, asterisk form, or the beginning of an absolute one.
func startsTarget(b []byte) bool {
	if b[0] == '/' || b[0] == '*' {
		return true
	}
	for _, scheme := range []string{"http://", "https://"} {
		n := min(len(b), len(scheme))
		if string(bytes.ToLower(b[:n])) == scheme[:n] {
			return true
		}
	}
	return false
}

// maxSettings bounds the first frame's length. A server that announces every
// registered setting needs 54 bytes.
const maxSettings = 1024

// ServerMaybeHTTP2 tells whether a server's first bytes can begin an HTTP/2
// SETTINGS frame (RFC 9113, 6.5): no acknowledgement, stream 0, a length in
// sixes. Servers of grpc-go send it before they have read the preface, so it
// is no verdict; everything else a server says first is.
func ServerMaybeHTTP2(b []byte) bool {
	const frameHeader = 9
	for i, c := range b[:min(len(b), frameHeader)] {
		switch i {
		case 0, 4, 5, 6, 7, 8: // high byte of the length; flags; stream
			if c != 0 {
				return false
			}
		case 3: // SETTINGS
			if c != 4 {
				return false
			}
		}
	}
	if len(b) < 3 {
		return true
	}
	n := int(b[1])<<8 | int(b[2])
	return n%6 == 0 && n <= maxSettings
}
