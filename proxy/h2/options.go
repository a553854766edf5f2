// SPDX-License-Identifier: Apache-2.0

package h2

import "github.com/shuntmesh/shunt/proxy/message"

// Names of limits that LimitHit is called with.
const (
	LimitStreams      = "streams"       // MaxStreams: refused with REFUSED_STREAM
	LimitHeaderBytes  = "header-bytes"  // MaxHeaderBytes: 431, a reset, or far above it the end of the connection
	LimitContinuation = "continuation"  // MaxContinuations: ends the connection
	LimitResets       = "stream-resets" // MaxResets: ends the connection
	LimitControl      = "control"       // MaxControl: ends the connection
	LimitOutput       = "output"        // the peer sends and does not read: aborts the connection
)

// Options are limits, and what the connections of one worker share. Limits that
// are zero have their defaults.
type Options struct {
	// Interner is the worker's. Without one the connection has its own.
	Interner *message.Interner
	// Pool is the worker's. Without one the connection has its own.
	Pool *Pool
	// MaxStreams is how many streams a client may have open: 250.
	MaxStreams int
	// StreamWindow is how many bytes of one body may be received and not be
	// credited: 256 KiB. Below 65535 it is 65535, with which a peer begins.
	StreamWindow int
	// ConnWindow is how many bytes may be on their way on all streams together:
	// 1 MiB, at least 65535.
	ConnWindow int
	// MaxHeaderBytes bounds a list of header fields as RFC 9113, section 6.5.2
	// counts it, that is name, value and 32 bytes for each field: 64 KiB. As
	// many bytes twice are the most that an encoded list may have.
	MaxHeaderBytes int
	// MaxContinuations is how many CONTINUATION frames may follow a HEADERS
	// frame: 32.
	MaxContinuations int
	// MaxResets is how many streams more than other ones a client may reset
	// soon after it opened them, or have reset by errors of its own: 500
	// (CVE-2023-44487, CVE-2025-8671).
	MaxResets int
	// MaxControl is how many frames that bring no request and no data (PING,
	// SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, ...) may come in
	// succession: 2000. Data in both directions, requests, and each read from
	// the peer allow for some more.
	MaxControl int
	// LimitHit is called with the name of a limit that was hit; it may be nil.
	LimitHit func(name string)
}

const (
	defaultWindow = 65535 // RFC 9113, section 6.9.2
	maxWindow     = 1<<31 - 1
	maxStreamID   = 1<<31 - 1

	// maxFrame is what we receive: the default of SETTINGS_MAX_FRAME_SIZE.
	maxFrame = 16384
	// headerTable is the default of SETTINGS_HEADER_TABLE_SIZE.
	headerTable = 4096
	// maxOutput is how much output may wait for a peer that still sends. Bodies
	// stop at HighWater: what is above is heads and control frames.
	maxOutput = 1 << 20
)

func (o Options) withDefaults() Options {
	def := func(v *int, otherwise int) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	def(&o.MaxStreams, 250)
	def(&o.StreamWindow, 256<<10)
	def(&o.ConnWindow, 1<<20)
	def(&o.MaxHeaderBytes, 64<<10)
	def(&o.MaxContinuations, 32)
	def(&o.MaxResets, 500)
	def(&o.MaxControl, 2000)
	o.StreamWindow = min(max(o.StreamWindow, defaultWindow), maxWindow)
	o.ConnWindow = min(max(o.ConnWindow, defaultWindow), maxWindow)
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
