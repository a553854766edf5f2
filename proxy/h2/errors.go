// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"errors"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Error is a connection error (RFC 9113, section 5.4.1): what the peer did, and
// the code of the GOAWAY that it was told with.
type Error struct {
	Code   message.Code
	Reason string
}

func (e *Error) Error() string { return "http2: " + e.Reason + " (" + e.Code.String() + ")" }

func connError(code message.Code, reason string) error {
	return &Error{Code: code, Reason: reason}
}

var (
	errClosed = errors.New("http2: connection closed")
	errCutOff = errors.New("http2: peer closed the connection in the middle of a stream")
)

// malformed is why a message is malformed (RFC 9113, section 8.1.1): a stream
// error of type PROTOCOL_ERROR.
type malformed string

func (m malformed) Error() string { return "http2: " + string(m) }

// What errors are is asked only after comparing them with nil: errors.As takes
// memory.

func isMalformed(err error) bool {
	if err == nil {
		return false
	}
	var m malformed
	return errors.As(err, &m)
}

// fatal tells whether err is one of the connection.
func fatal(err error) bool {
	if err == nil {
		return false
	}
	var e *Error
	return errors.As(err, &e)
}

// fail ends the connection by an error of the peer's: GOAWAY is the last that
// it gets, and all streams end.
func (c *Conn) fail(err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: message.InternalError, Reason: err.Error()}
	}
	last := c.lastID
	if !c.server() || c.leave.final { // a server opens none; the last must not rise
		last = c.leave.lastID
	}
	c.writeGoAway(last, e.Code, e.Reason)
	c.err = err
	c.endAll(message.Reset{Code: e.Code, Malformed: true})
}

// lose ends all streams of a connection that is gone.
func (c *Conn) lose(err error) {
	if c.err == nil {
		c.err = err
	}
	switch {
	case c.server():
		c.endAll(message.Reset{Code: message.Cancel})
	case !c.settled:
		// A server's SETTINGS are the first that it sends, so this one did
		// not get to any request.
		c.endAll(message.Reset{Code: message.RefusedStream, Unprocessed: true})
	default:
		c.endAll(message.Reset{Code: message.ConnectError})
	}
}

// endAll ends all streams without telling the peer.
func (c *Conn) endAll(r message.Reset) {
	c.roomChanged()
	for _, s := range c.streams.list() {
		c.end(s, r)
	}
}

// end forgets a stream, unless a Handler ended it meanwhile, and tells its
// Handler.
func (c *Conn) end(s *stream, r message.Reset) {
	if !s.open {
		return
	}
	h := s.h
	c.forget(s, r.Malformed)
	h.OnReset(r)
}

// streamError resets a stream because of what the peer did (section 5.4.2).
func (c *Conn) streamError(s *stream, code message.Code) error {
	c.writeReset(s.id, code)
	c.end(s, message.Reset{Code: code, Malformed: true})
	return c.annoyed()
}
