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
	"cmp"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Wire is the connection below a core. None of its methods calls the core.
type Wire interface {
	// Output is the buffer that goes to the peer, to append to. Never nil.
	Output() *[]byte
	// Unsent is how many bytes of Output the socket has not taken.
	Unsent() int
	// HighWater is how many of them make a peer one without room, until Drained
	// tells that it took them all.
	HighWater() int
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

// Names of limits that LimitHit is called with.
const (
	LimitHeaderBytes = "header-bytes"
	LimitFields      = "header-fields"
	LimitInterim     = "interim-responses"
	LimitExtension   = "chunk-extension-bytes"
	LimitPipelined   = "pipelined-bytes"
	LimitWindow      = "http1-window-bytes"
	LimitUnsent      = "unsent-bytes"
)

// Limits bound what one connection may cost. Those that are zero have their
// defaults.
type Limits struct {
	// MaxHeaderBytes bounds a head, its start line included, and a trailer
	// section; above it 431 is the answer.
	MaxHeaderBytes int
	// MaxFields bounds the count of fields of a head; above it 431 is the answer.
	MaxFields int
	// MaxInterim is how many 1xx responses one request may have; more are no
	// valid answer. Nothing else bounds them: they are no content that needs
	// credit.
	MaxInterim int
	// MaxExtension bounds the chunk extensions of one message, in bytes; a
	// message with more is malformed. They are dropped (RFC 9112, 7.1.1), and
	// must not be a way to send content that nobody counts.
	MaxExtension int
	// MaxPipelined is how many bytes may wait for their turn, behind a request
	// that is being answered, before reading is paused.
	MaxPipelined int
	// Window is how many bytes of content may be not credited before reading is
	// paused.
	Window int
}

// DefaultLimits returns what a sidecar runs with. The window is what an HTTP/2
// stream begins with (RFC 9113, 6.9.2).
func DefaultLimits() Limits {
	return Limits{
		MaxHeaderBytes: 64 << 10,
		MaxFields:      256,
		MaxInterim:     100,
		MaxExtension:   4 << 10,
		MaxPipelined:   16 << 10,
		Window:         64 << 10,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxHeaderBytes: cmp.Or(l.MaxHeaderBytes, d.MaxHeaderBytes),
		MaxFields:      cmp.Or(l.MaxFields, d.MaxFields),
		MaxInterim:     cmp.Or(l.MaxInterim, d.MaxInterim),
		MaxExtension:   cmp.Or(l.MaxExtension, d.MaxExtension),
		MaxPipelined:   cmp.Or(l.MaxPipelined, d.MaxPipelined),
		Window:         cmp.Or(l.Window, d.Window),
	}
}

// Options of a connection. The zero value works.
type Options struct {
	Limits
	// Interner is shared by all connections of a worker.
	Interner *message.Interner
	// Scheme is that of heads that a server makes. "" is http.
	Scheme string
	// Later runs f on the worker soon, but not within the call. A server
	// needs it to go on with input that waited for a response (pipelined
	// requests, the first bytes of a tunnel) without calling a Handler from
	// within a Stream. Without it that happens as the last thing that the
	// SendHead or SendData does which sent the response.
	Later func(f func())
	// LimitHit is called with the name of a limit that was hit. It may be nil.
	LimitHit func(limit string)
	// Refused is called with the status of each response that a server makes by
	// itself. It may be nil.
	Refused func(status int)
}

func (o Options) withDefaults() Options {
	if o.Interner == nil {
		o.Interner = &message.Interner{}
	}
	o.Limits = o.Limits.withDefaults()
	o.Scheme = cmp.Or(o.Scheme, "http")
	return o
}

func (o *Options) hit(limit string) {
	if o.LimitHit != nil {
		o.LimitHit(limit)
	}
}
