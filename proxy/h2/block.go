// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/shuntmesh/shunt/proxy/hpack"
	"github.com/shuntmesh/shunt/proxy/message"
)

const (
	// blockCache is how many header blocks are kept per connection and direction.
	blockCache = 16
	// keptHeadBytes bounds the names and values of a head that is kept.
	keptHeadBytes = 4096
)

// receivedBlock is a header block that meant head while the decoder was at
// version.
type receivedBlock struct {
	version uint64
	block   []byte
	head    *message.Head
}

// sentBlock is what head was encoded to while the encoder was at version.
type sentBlock struct {
	version uint64
	head    *message.Head
	block   []byte
}

// readHead decodes a header block. The error is an *Error for the connection,
// malformed, or hpack.ErrTooLarge.
func (c *Conn) readHead(kind message.Kind, block []byte) (*message.Head, error) {
	if c.dec == nil {
		c.dec = hpack.NewDecoder(c.o.Interner, headerTable, c.o.MaxHeaderBytes)
	}
	version := c.dec.Version()
	for i := range c.received {
		r := &c.received[i]
		if r.version == version && r.head.Kind == kind && bytes.Equal(r.block, block) {
			return r.head, nil
		}
	}
	pool := c.o.Pool
	fields, err := c.dec.Decode(pool.fields[:0], block)
	pool.fields = fields
	switch {
	case errors.Is(err, hpack.ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, connError(message.CompressionError, err.Error())
	}
	if !worthKeeping(fields) {
		return &pool.scratch, fillHead(&pool.scratch, kind, fields)
	}
	h, err := pool.common(kind, fields)
	if err == nil && c.dec.Version() == version {
		r := rotate(&c.received, c.frames)
		r.version, r.head, r.block = version, h, append(r.block[:0], block...)
	}
	return h, err
}

// worthKeeping tells whether the same list is to be expected again, and is short
// enough that a peer cannot fill much memory with such.
func worthKeeping(fields []*message.Field) bool {
	size := 0
	for _, f := range fields {
		size += len(f.Name) + len(f.Value)
		if !f.Again || size > keptHeadBytes {
			return false
		}
	}
	return true
}

// rotate returns an entry to be overwritten: a new one as long as there is
// place.
func rotate[E any](cache *[]E, turn uint32) *E {
	if len(*cache) < blockCache {
		var e E
		*cache = append(*cache, e)
		return &(*cache)[len(*cache)-1]
	}
	const spread = 0x9e3779b1 // turn may come in even steps
	return &(*cache)[turn*spread>>28%blockCache]
}

// writeHead sends a head in HEADERS and CONTINUATION frames.
func (c *Conn) writeHead(id uint32, h *message.Head, end bool) {
	if c.err != nil {
		return
	}
	var flags uint8
	if end {
		flags = flagEndStream
	}
	out := c.w.Output()
	at := len(*out)
	b := appendFrameHeader(*out, 0, frameHeaders, flags, id)
	*out = c.closeBlock(c.encode(b, h), at, id)
}

// closeBlock writes the length of the block that begins after the frame header
// at, and splits it at the longest frame that the peer takes.
func (c *Conn) closeBlock(b []byte, at int, id uint32) []byte {
	length := len(b) - at - frameHeaderLen
	limit := c.peer.maxFrame
	first := min(length, limit)
	b[at], b[at+1], b[at+2] = byte(first>>16), byte(first>>8), byte(first)
	if length <= limit {
		b[at+4] |= flagEndHeaders
		return b
	}
	more := (length - 1) / limit // CONTINUATION frames
	for range more {
		b = append(b, make([]byte, frameHeaderLen)...)
	}
	// From the last one on, each payload moves behind the headers before it.
	for i := more; i > 0; i-- {
		from := at + frameHeaderLen + i*limit
		n := min(length-i*limit, limit)
		to := from + i*frameHeaderLen
		copy(b[to:to+n], b[from:from+n])
		var flags uint8
		if i == more {
			flags = flagEndHeaders
		}
		appendFrameHeader(b[:to-frameHeaderLen], n, frameContinuation, flags, id)
	}
	return b
}

// encode appends the header block of h.
func (c *Conn) encode(b []byte, h *message.Head) []byte {
	if c.enc == nil {
		c.enc = hpack.NewEncoder()
		if c.peer.headerTable != headerTable {
			c.enc.SetMaxTable(c.peer.headerTable)
		}
	}
	b = c.enc.Begin(b)
	version := c.enc.Version()
	if h.Stable {
		for i := range c.sent {
			if e := &c.sent[i]; e.head == h && e.version == version {
				return append(b, e.block...)
			}
		}
	}
	at := len(b)
	b = c.encodePseudo(b, h)
	for _, f := range h.Fields {
		if !connectionSpecific(f.Name) && (f.Name != "host" || h.Authority == "") {
			b = c.enc.Field(b, f)
		}
	}
	if h.Stable && c.enc.Version() == version {
		c.keepSent(h, version, b[at:])
	}
	return b
}

// keepSent remembers a block, in the place of the one that head had before.
func (c *Conn) keepSent(h *message.Head, version uint64, block []byte) {
	e := (*sentBlock)(nil)
	for i := range c.sent {
		if c.sent[i].head == h {
			e = &c.sent[i]
		}
	}
	if e == nil {
		e = rotate(&c.sent, c.frames)
	}
	e.version, e.head, e.block = version, h, append(e.block[:0], block...)
}

func (c *Conn) encodePseudo(b []byte, h *message.Head) []byte {
	switch h.Kind {
	case message.Response:
		return c.enc.Pseudo(b, ":status", statusText(h.Status))
	case message.Trailers:
		return b
	}
	b = c.enc.Pseudo(b, ":method", h.Method)
	if h.Method != methodConnect || h.Protocol != "" {
		scheme := h.Scheme
		if scheme == "" {
			scheme = "http"
		}
		b = c.enc.Pseudo(b, ":scheme", scheme)
		b = c.enc.Pseudo(b, ":path", h.Path)
	}
	if h.Authority != "" {
		b = c.enc.Pseudo(b, ":authority", h.Authority)
	}
	if h.Method == methodConnect && h.Protocol != "" {
		b = c.enc.Pseudo(b, ":protocol", h.Protocol)
	}
	return b
}

// statusText allocates for rare codes only.
func statusText(code int) string {
	switch code {
	case 200:
		return "200"
	case 204:
		return "204"
	case 304:
		return "304"
	case 404:
		return "404"
	case 503:
		return "503"
	}
	return strconv.Itoa(code)
}
