// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"cmp"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Names of limits that LimitHit is called with.
const (
	LimitStreams       = "streams"
	LimitHeaderBytes   = "header-bytes"
	LimitContinuations = "continuations"
	LimitResets        = "stream-resets"
	LimitControl       = "control-frames"
	LimitOutput        = "output-bytes"
	LimitWindow        = "http2-window-bytes"
	LimitUnsent        = "unsent-bytes"
)

// Limits bound what one connection may cost. Those that are zero have their
// defaults.
type Limits struct {
	// MaxStreams is how many streams a client may have open; others are refused.
	MaxStreams int
	// StreamWindow is how many bytes of one body may be received and not be
	// credited. Below 65535 it is 65535, with which a peer begins.
	StreamWindow int
	// MaxHeaderBytes bounds a list of header fields as RFC 9113, section 6.5.2
	// counts it, that is name, value and 32 bytes for each field: above it 431
	// is the answer, or a reset. As many bytes twice are the most that an encoded
	// list may have: above that, the connection ends.
	MaxHeaderBytes int
	// MaxContinuations is how many CONTINUATION frames may follow a HEADERS
	// frame; one more ends the connection.
	MaxContinuations int
	// MaxResets is how many streams more than other ones a client may reset
	// soon after it opened them, or have reset by errors of its own, before the
	// connection ends (CVE-2023-44487, CVE-2025-8671).
	MaxResets int
	// MaxControl is how many frames that bring no request and no data (PING,
	// SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, ...) may come in
	// succession, before the connection ends. Data in both directions, requests,
	// and each read from the peer allow for some more.
	MaxControl int
	// MaxOutput is how many bytes of output may wait for a peer that still sends;
	// more ends the connection. Bodies stop at the HighWater of the Wire: what is
	// above is heads and control frames.
	MaxOutput int
}

// DefaultLimits returns what a sidecar runs with.
func DefaultLimits() Limits {
	return Limits{
		MaxStreams:       1000,
		StreamWindow:     256 << 10,
		MaxHeaderBytes:   64 << 10,
		MaxContinuations: 32,
		MaxResets:        500,
		MaxControl:       2000,
		MaxOutput:        1 << 20,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxStreams:       cmp.Or(l.MaxStreams, d.MaxStreams),
		StreamWindow:     clampWindow(cmp.Or(l.StreamWindow, d.StreamWindow)),
		MaxHeaderBytes:   cmp.Or(l.MaxHeaderBytes, d.MaxHeaderBytes),
		MaxContinuations: cmp.Or(l.MaxContinuations, d.MaxContinuations),
		MaxResets:        cmp.Or(l.MaxResets, d.MaxResets),
		MaxControl:       cmp.Or(l.MaxControl, d.MaxControl),
		MaxOutput:        cmp.Or(l.MaxOutput, d.MaxOutput),
	}
}

// Options are limits, and what the connections of one worker share.
type Options struct {
	Limits
	// Interner is the worker's. Without one the connection has its own.
	Interner *message.Interner
	// Pool is the worker's. Without one the connection has its own.
	Pool *Pool
	// ConnWindow is how many bytes may be on their way on all streams together:
	// 1 MiB, and at least what a stream may have. It is given back as they
	// arrive, and bounds no memory.
	ConnWindow int
	// PeerStreams is how many streams a server is taken to allow until its SETTINGS
	// say: 100, the least that RFC 9113, section 6.5.2, recommends.
	PeerStreams int
	// Allows is called with how many they allow; it may be nil.
	Allows func(streams int)
	// LimitHit is called with the name of a limit that was hit; it may be nil.
	LimitHit func(name string)
	// Refused is called on a server for each request that no Handler hears of,
	// with the status that it got, or would have got: for one that is malformed
	// there is but a reset. It may be nil.
	Refused func(status int)
}

const (
	defaultWindow     = 65535 // RFC 9113, section 6.9.2
	defaultConnWindow = 1 << 20
	maxWindow         = 1<<31 - 1
	maxStreamID       = 1<<31 - 1

	// maxFrame is what we receive: the default of SETTINGS_MAX_FRAME_SIZE.
	maxFrame = 16384
	// headerTable is the default of SETTINGS_HEADER_TABLE_SIZE.
	headerTable = 4096
	// peerStreams is how many streams a peer allows that does not say.
	peerStreams = 100
)

func clampWindow(n int) int { return min(max(n, defaultWindow), maxWindow) }

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	o.ConnWindow = clampWindow(cmp.Or(o.ConnWindow, max(defaultConnWindow, o.StreamWindow)))
	o.PeerStreams = cmp.Or(o.PeerStreams, peerStreams)
	if o.Interner == nil {
		o.Interner = &message.Interner{}
	}
	if o.Pool == nil {
		o.Pool = &Pool{}
	}
	return o
}

func (o *Options) hit(name string) {
	if o.LimitHit != nil {
		o.LimitHit(name)
	}
}
