// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"strconv"

	"github.com/shuntmesh/shunt/proxy/message"
)

// outgoing is how far the message is that is being sent.
type outgoing struct {
	framing framing
	left    int64 // with framedLength
	begun   bool  // its final head was sent
	ended   bool
}

// framing is how the peer knows where content ends (RFC 9112, 6.3).
type framing uint8

const (
	framedNone framing = iota // there is none
	framedLength
	framedChunks
	framedByEnd // of the connection
	framedRaw   // a tunnel
	framedAsked // a tunnel that was asked for
)

// form is what a head gets that is not among its fields.
type form struct {
	framing   framing
	length    bool // Content-Length
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
}

// sendData sends content in the framing that the head announced. What does not
// fit it must not be sent: it would be read as another message.
func (c *conn) sendData(p []byte, end bool) {
	o := c.wire.Output()
	switch c.out.framing {
	case framedNone:
		// Nothing may follow this head, whatever it says.
	case framedLength:
		if c.out.left -= int64(len(p)); c.out.left < 0 || end && c.out.left > 0 {
			c.misframed(end)
			return
		}
		*o = append(*o, p...)
	case framedChunks:
		*o = appendChunk(*o, p)
		if end {
			*o = append(*o, "0\r\n\r\n"...)
		}
	case framedAsked:
		c.early = append(c.early, p...)
	default:
		*o = append(*o, p...)
	}
	if end {
		c.ended()
	}
}

func (c *conn) ended() {
	c.measure() // before another request is let in
	c.out.ended = true
	c.role.sent()
}

// misframed breaks off. To a sender that is done the stream is over.
func (c *conn) misframed(end bool) {
	if end {
		c.finish()
	}
	c.breakOff()
}

// appendChunk appends p as a chunk; an empty one would be the last.
func appendChunk(o, p []byte) []byte {
	if len(p) == 0 {
		return o
	}
	o = strconv.AppendInt(o, int64(len(p)), 16)
	o = append(o, "\r\n"...)
	o = append(o, p...)
	return append(o, "\r\n"...)
}

// sendTrailers ends the message. Only chunks can have trailers behind them;
// others lose them, as they may (RFC 9110, 6.5.1).
func (c *conn) sendTrailers(h *message.Head) {
	if c.out.framing != framedChunks {
		c.sendData(nil, true)
		return
	}
	o := c.wire.Output()
	b := append(*o, "0\r\n"...)
	b, _, ok := appendFields(b, h, false)
	if !ok {
		c.misframed(true)
		return
	}
	*o = append(b, "\r\n"...)
	c.ended()
}

// writeHead appends a head, and tells whether it could be written.
func (c *conn) writeHead(h *message.Head, f form) bool {
	o := c.wire.Output()
	if !h.Stable {
		b, ok := appendHead(*o, h, f)
		*o = b
		return ok
	}
	if c.encodings == nil {
		c.encodings = &encodings{}
	}
	e := c.encodings.find(h, f)
	if e != nil && len(e.bytes) > 0 {
		*o = append(*o, e.bytes...)
		return true
	}
	at := len(*o)
	b, ok := appendHead(*o, h, f)
	*o = b
	if ok && e != nil && e.again && len(b)-at <= maxCached {
		e.bytes = append(e.bytes[:0], b[at:]...)
	}
	if e != nil {
		e.again = true
	}
	return ok
}

// appendHead appends a head, or returns o and false for one that can't be
// written in HTTP/1.1 without saying something else. Those from an HTTP/1 peer
// always can; this is the last line of defence for all others (RFC 9113, 10.3).
func appendHead(o []byte, h *message.Head, f form) ([]byte, bool) {
	var b []byte
	ok := true
	if h.Kind == message.Request {
		b, ok = appendRequestLine(o, h)
	} else {
		b = appendStatusLine(o, h.Status)
	}
	if !ok {
		return o, false
	}
	b, te, ok := appendFields(b, h, f.length)
	if !ok {
		return o, false
	}
	if f.framing == framedChunks {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if b, ok = appendConnection(b, h, f, te); !ok {
		return o, false
	}
	return append(b, "\r\n"...), true
}

// appendRequestLine appends the Host as well: it is best the first field (RFC
// 9110, 7.2).
func appendRequestLine(b []byte, h *message.Head) ([]byte, bool) {
	target := h.Path
	if target == "" {
		target = h.Authority // CONNECT
	}
	if !isToken(h.Method) || !isTarget(target) || !isHost(h.Authority) {
		return b, false
	}
	b = append(b, h.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, h.Authority...)
	return append(b, "\r\n"...), true
}

// appendFields appends all fields but those that the core makes itself, with
// Content-Length in its place if there is to be one. It tells whether TE is
// among them.
func appendFields(b []byte, h *message.Head, length bool) (_ []byte, te, ok bool) {
	for _, f := range h.Fields {
		switch f.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			continue
		case "content-length":
			if length {
				b = appendLength(b, h, f.Line)
			}
			length = false
			continue
		case "host":
			if h.Kind == message.Request {
				continue
			}
		case "te":
			te = true
		}
		if f.Line != "" {
			b = append(b, f.Line...)
			continue
		}
		if !isToken(f.Name) || !isText(f.Value) {
			return b, false, false
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	if length {
		b = appendLength(b, h, "")
	}
	return b, te, true
}

func appendLength(b []byte, h *message.Head, line string) []byte {
	if line != "" {
		return append(b, line...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, max(h.ContentLength, 0), 10)
	return append(b, "\r\n"...)
}

// appendConnection appends what is said to the next hop only (RFC 9110, 7.6.1
// and 7.8).
func appendConnection(b []byte, h *message.Head, f form, te bool) ([]byte, bool) {
	upgrade := h.Protocol != "" && (h.Kind == message.Request || h.Status == 101 || h.Status == 426)
	if !f.close && !f.keepAlive && !te && !upgrade {
		return b, true
	}
	if upgrade && !isText(h.Protocol) {
		return b, false
	}
	b = append(b, "Connection: "...)
	for _, o := range [...]struct {
		is   bool
		name string
	}{{f.close, "close, "}, {f.keepAlive, "keep-alive, "}, {te, "TE, "}, {upgrade, "Upgrade, "}} {
		if o.is {
			b = append(b, o.name...)
		}
	}
	b = append(b[:len(b)-len(", ")], "\r\n"...)
	if upgrade {
		b = append(b, "Upgrade: "...)
		b = append(b, h.Protocol...)
		b = append(b, "\r\n"...)
	}
	return b, true
}
