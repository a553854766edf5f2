// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"

	"github.com/shuntmesh/shunt/proxy/transport"
)

// security is what TLS tells of a connection.
type security interface {
	// Worn tells that it should be replaced, for its keys have protected a lot.
	Worn() bool
	// CloseNotified tells that the peer has said that its stream is complete.
	CloseNotified() bool
}

// securityOf is t; nil is plaintext.
func securityOf(t *transport.TLS) security {
	if t == nil {
		return nil
	}
	return t
}

var errTruncated = errors.New("endpoint closed without close_notify")

// Room is how many streams may be opened. A worn connection has none: others take
// its place, and it is closed when it is idle.
func (c *serverConn) Room() int {
	if c.security != nil && c.security.Worn() {
		return 0
	}
	return c.core.Room()
}

// End takes the endpoint's end of stream. Anybody on the way can forge a FIN, so
// over TLS only close_notify ends an answer that has no other end (RFC 9112,
// section 9.8).
func (c *serverConn) End() error {
	if c.security != nil && !c.security.CloseNotified() {
		return errTruncated
	}
	return c.core.End()
}
