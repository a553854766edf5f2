// SPDX-License-Identifier: Apache-2.0

package h1

import "github.com/shuntmesh/shunt/proxy/message"

// Client is a connection to a server. It has one request at a time.
type Client struct {
	conn
	changed func()
	served  bool // a request before this one

	// Of the request in turn.
	isHead  bool
	connect bool
	upgrade bool
	answer  bool // a byte of it came
	persist bool
	interim int
}

// NewClient returns the core of a connection to a server. changed is called
// when Room may differ; it may be nil.
func NewClient(w Wire, o Options, changed func()) *Client {
	c := &Client{changed: changed}
	c.init(w, o, c)
	c.state = readNone
	return c
}

// Room is 1 when a request may be sent, else 0. A connection that has become
// useless is closed by itself.
func (c *Client) Room() int {
	if c.turn == nil && c.state == readNone && !c.eof {
		return 1
	}
	return 0
}

// Streams is 1 while a request is in progress, else 0.
func (c *Client) Streams() int {
	if c.turn == nil {
		return 0
	}
	return 1
}

// Open begins a request while there is Room. SendHead follows at once.
//
// The stream is reset with Unprocessed when the server closed the connection
// without a byte of an answer, and had answered a request on it before: then it
// most likely closed an idle connection, just when the request was sent. But
// it may have acted on it. Who knows the method decides whether to send it
// again (RFC 9110, 9.2.2; RFC 9112, 9.3.1).
//
// It is over when the response has ended, before the request has or not. Bytes
// for a tunnel may be sent behind CONNECT at once; they wait for the answer.
func (c *Client) Open(h message.Handler) message.Stream {
	if c.Room() == 0 {
		return &stream{conn: &c.conn, over: true}
	}
	c.state = readHead
	c.answer, c.interim = false, 0
	return c.begin(h)
}

// sendHead sends a request.
func (c *Client) sendHead(h *message.Head, end bool) {
	f := form{length: h.ContentLength >= 0}
	c.connect = h.Method == methodConnect
	switch {
	case c.connect:
		f = form{framing: framedAsked}
	case end:
		f.length = f.length || wantsLength(h)
	case f.length:
		f.framing = framedLength
	default:
		f.framing = framedChunks
	}
	if c.out.begun || end && h.ContentLength > 0 || !c.writeHead(h, f) {
		c.breakOff()
		return
	}
	c.isHead, c.upgrade = h.Method == methodHead, h.Protocol != ""
	c.out = outgoing{framing: f.framing, left: h.ContentLength, begun: true}
	if end {
		c.ended()
	}
}

// wantsLength tells whether a request without content should say so: a server
// may expect some with these methods (RFC 9110, 8.6). HTTP/2 needs no length;
// what came without one over HTTP/1.1 stays as it is.
func wantsLength(h *message.Head) bool {
	switch h.Method {
	case methodPost, methodPut, methodPatch:
		return len(h.Fields) > 0 && h.Fields[0].Line == ""
	}
	return false
}

func (c *Client) sent() {
	if c.out.framing == framedRaw {
		c.tunnelSent()
	}
}

// onHead reads a response, interim or final.
func (c *Client) onHead(in []byte) (int, error) {
	c.answer = true
	p, n, err := c.scan.response(in)
	if n == 0 {
		return 0, err
	}
	h := p.head
	switch {
	case h.Informational():
		if c.interim++; c.interim > c.options.MaxInterim {
			return 0, errInterim
		}
		c.turn.handler.OnHead(h, false)
	case h.Status == 101 && (!c.upgrade || !c.out.ended):
		return 0, errSwitch
	case h.Status == 101, c.connect && h.Status/100 == 2:
		c.switchOver(h)
	default:
		c.final(p, len(in) > n)
	}
	return n, nil
}

// final begins the content (RFC 9112, 6.3).
func (c *Client) final(p *parsed, more bool) {
	h := p.head
	c.persist = p.persists() && !c.connect
	switch {
	case c.isHead, h.Status == 204, h.Status == 304, h.ContentLength == 0:
		handler := c.turn.handler
		c.received(more)
		handler.OnHead(h, true)
		c.told()
		return
	case p.chunked:
		c.state, c.chunks = readChunks, chunks{extension: c.options.MaxExtension}
	case h.ContentLength > 0:
		c.state, c.length = readLength, h.ContentLength
	default:
		c.state, c.persist = readToEnd, false
	}
	c.turn.handler.OnHead(h, false)
}

// switchOver makes a tunnel of the connection, for what was already sent too.
func (c *Client) switchOver(h *message.Head) {
	s, early, ended := c.turn, c.early, c.out.ended && c.connect
	c.early = nil
	c.state = readRaw
	c.out = outgoing{framing: framedRaw, begun: true, ended: ended}
	o := c.wire.Output()
	*o = append(*o, early...)
	if ended {
		c.wire.CloseWrite()
	}
	c.measure()
	if h.ContentLength >= 0 { // it means nothing here (RFC 9110, 9.3.6)
		h = h.Without("content-length")
		h.ContentLength = -1
	}
	s.handler.OnHead(h, false)
	if c.turn == s && s.waits && !c.full {
		s.waits = false
		s.handler.OnDrained()
	}
}

// received ends the stream. What follows it was not asked for, and a request
// that goes on after its response would be in the way of the next one.
func (c *Client) received(more bool) {
	c.finish()
	if c.persist && !more && c.out.ended && !c.eof {
		c.state, c.served = readNone, true
	} else {
		c.die()
	}
}

func (c *Client) told() {
	if c.state == readDead {
		if c.out.ended {
			c.wire.Close()
		} else {
			c.wire.Abort() // the server may never read the rest
		}
	}
	c.roomChanged()
}

func (c *Client) roomChanged() {
	if c.changed != nil {
		c.changed()
	}
}

func (c *Client) idle() error { return errUnasked }

func (c *Client) malformed(err error) error {
	c.tooMuch(err)
	c.die()
	if c.turn != nil {
		c.finish().OnReset(message.Reset{Code: message.ProtocolError, Malformed: true})
	}
	c.roomChanged()
	return err
}

// End takes the server's end of stream, which is the end of content that has no
// other.
func (c *Client) End() error {
	c.eof = true
	switch {
	case c.state == readDead:
	case c.turn == nil:
		c.close()
		c.roomChanged()
	case c.state == readRaw:
		c.tunnelEnded()
	case c.state == readToEnd:
		c.deliver(nil, true, false)
	default:
		c.close()
		c.broken()
	}
	return nil
}

// Drained tells that the server has read what was too much for it.
func (c *Client) Drained() { c.drained() }

// Closed ends the request in progress.
func (c *Client) Closed(error) {
	c.die()
	if c.turn != nil {
		c.broken()
		return
	}
	c.roomChanged()
}

// broken ends a stream whose connection has ended within it.
func (c *Client) broken() {
	unprocessed := c.served && !c.answer
	code := message.InternalError
	if unprocessed {
		code = message.RefusedStream
	}
	c.finish().OnReset(message.Reset{Code: code, Unprocessed: unprocessed})
	c.roomChanged()
}
