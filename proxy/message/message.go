// SPDX-License-Identifier: Apache-2.0

// Package message is what the protocol cores and the exchange between them
// share: header fields, heads of messages, and the two ends of a stream. A core
// (h1, h2) turns bytes into calls of Handler and calls of Stream into bytes;
// an exchange stands between a client's stream and a server's. Everything here
// belongs to one worker: nothing is safe for concurrent use, nothing blocks.
package message

// Stream is where a message is sent: one HTTP/2 stream, or the message in turn
// on an HTTP/1 connection. Its methods never call back into the Handler.
type Stream interface {
	// SendHead sends an informational, final or trailing head. end means that
	// nothing follows it.
	SendHead(h *Head, end bool)
	// SendData takes the whole of p, and copies what the peer has no room for.
	SendData(p []byte, end bool)
	// Unsent is how many bytes SendData took that the peer has had no room
	// for. When it falls back to zero, the Handler's OnDrained is called.
	Unsent() int
	// Credit says that n bytes given to OnData were disposed of, so that the
	// peer may send as many again.
	Credit(n int)
	// Reset ends the stream at once in both directions. The Handler hears
	// nothing more of it.
	Reset(Code)
}

// Handler gets what a peer sends on one stream. It may call any Stream from
// within.
type Handler interface {
	// OnHead gets an informational, final or trailing head. It may be kept
	// after the call only when it is Stable.
	OnHead(h *Head, end bool)
	// OnData gets a piece of the body, which is valid during the call. Every
	// byte must be credited back to the stream that it came from.
	OnData(p []byte, end bool)
	// OnReset ends the stream: nothing follows, and the stream must not be
	// used again.
	OnReset(Reset)
	// OnDrained tells that Unsent has fallen to zero.
	OnDrained()
}

// Reset is how a stream ended before its messages did.
type Reset struct {
	Code Code
	// Unprocessed means that the peer provably did not act on the request: it
	// refused it, said GOAWAY below it, or closed before any byte was read.
	Unprocessed bool
	// Malformed means that the peer broke the protocol, not off.
	Malformed bool
}

// Code is an error code of HTTP/2 (RFC 9113, section 7). HTTP/1 uses the same.
type Code uint32

// The codes.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

// String names the code as the RFC does.
func (c Code) String() string {
	names := [...]string{
		"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
		"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
		"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown error code"
}
