// SPDX-License-Identifier: Apache-2.0

// Package h1 is the HTTP/1.1 connection core (RFC 9112), as server and as
// client: bytes that came from a peer become calls of a message.Handler, calls
// of a message.Stream become bytes for the peer. It is strict in what it takes,
// so that the two sides of it never disagree about where a message ends, and
// passes header fields on as they were written. It performs no I/O, starts no
// goroutine, holds no lock, and knows no time: who owns a connection bounds how
// long a peer may take. Everything belongs to one worker.
package h1

import (
	"github.com/shuntmesh/shunt/proxy/message"
)

// Wire is the connection below a core. None of its methods calls the core.
type Wire interface {
	// Output is the buffer that goes to the peer, to append to. Never nil.
	Output() *[]byte
	// Unsent is how many bytes of Output the socket has not taken.
	Unsent() int
	// Pause stops reading from the peer, or goes on with it.
	Pause(bool)
	// Close closes in order once Output is flushed, and discards what the peer
	// still sends, within a bound: with unread input the connection would be
	// reset, and our last bytes might be lost (RFC 9112, 9.6).
	Close()
	// CloseWrite sends FIN once Output is flushed.
	CloseWrite()
	// Abort resets the connection now.
	Abort()
}

const (
	// HighWater is how many unsent bytes make a peer one without room, until
	// Drained tells that it took them all.
	HighWater = 256 << 10
	// window is how many bytes of content may be not credited before reading
	// is paused: as many as an HTTP/2 stream has by default (RFC 9113, 6.9.2).
	window = 64 << 10
	// maxHeld is how much input may wait for its turn, behind a request that
	// is being answered, before reading is paused.
	maxHeld = 16 << 10
	// maxInterim is how many 1xx responses one request may have. Nothing
	// else bounds them: they are no content that needs credit.
	maxInterim = 100
)

// Options of a connection. The zero value works.
type Options struct {
	// Interner is shared by all connections of a worker.
	Interner *message.Interner
	// MaxHeaderBytes bounds a head, its start line included, and a trailer
	// section. 0 is 64 KiB.
	MaxHeaderBytes int
	// MaxFields bounds the count of fields of a head. 0 is 256.
	MaxFields int
	// Scheme is that of heads that a server makes. "" is http.
	Scheme string
	// Later runs f on the worker soon, but not within the call. A server
	// needs it to go on with input that waited for a response (pipelined
	// requests, the first bytes of a tunnel) without calling a Handler from
	// within a Stream. Without it that happens as the last thing that the
	// SendHead or SendData does which sent the response.
	Later func(f func())
	// LimitHit is called with "header-bytes" where one of the bounds was
	// hit. It may be nil.
	LimitHit func(limit string)
	// Refused is called with the status and the reason of each response that
	// a server makes by itself. It may be nil.
	Refused func(status int, reason string)
}

func (o Options) withDefaults() Options {
	if o.Interner == nil {
		o.Interner = &message.Interner{}
	}
	if o.MaxHeaderBytes == 0 {
		o.MaxHeaderBytes = 64 << 10
	}
	if o.MaxFields == 0 {
		o.MaxFields = 256
	}
	if o.Scheme == "" {
		o.Scheme = "http"
	}
	return o
}
