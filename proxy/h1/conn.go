// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"bytes"
	"errors"

	"github.com/shuntmesh/shunt/proxy/message"
)

// conn is what both roles share: the reader of messages, with the state that
// lets it stop after any byte, and the stream in turn.
//
// A Handler may call any Stream from within, this connection's own too. So all
// state is as it will be before a Handler is called, and is looked at anew
// afterwards.
type conn struct {
	wire    Wire
	options Options
	role    role
	scan    scanner

	turn *stream // nil while there is none
	// A stream is used again for the message after the next, so that a late
	// call for the one before meets a stream that is over.
	streams [2]stream
	which   uint8

	state reading
	// held is input that waits: an incomplete head, or what is behind a
	// message whose answer is under way.
	held    []byte
	spent   int   // bytes in front of held, in the same memory
	length  int64 // of the content that is left, with readLength
	chunks  chunks
	credit  int  // bytes given to OnData and not credited
	paused  bool // Wire.Pause(true)
	running bool // receive is on the stack
	eof     bool // the peer ended its direction

	out       outgoing
	early     []byte // for a tunnel that has no answer yet
	encodings *encodings
	full      bool // until Drained
}

// reading is what the next bytes are.
type reading uint8

const (
	readHead reading = iota
	readLength
	readChunks
	readTrailers
	readToEnd // content that the end of the connection ends
	readNone  // a message was read whole, and it is not the next one's turn
	readRaw   // a tunnel
	readEnded // the peer ended its direction of a tunnel
	readDead  // nothing more: the connection is being closed
)

// role is what server and client do differently.
type role interface {
	// onHead reads a head, and returns how many bytes it has, 0 while
	// it is incomplete.
	onHead(in []byte) (int, error)
	// received is called when a message was read whole, before the Handler hears
	// its end; told when it has. more tells that there is input behind it.
	received(more bool)
	told()
	// idle is called for input while no message is due.
	idle() error
	// malformed is called once the peer broke the protocol.
	malformed(v error) error

	sendHead(h *message.Head, end bool)
	sent() // the message of the stream in turn was sent whole
}

func (c *conn) init(w Wire, o Options, r role) {
	c.wire, c.options, c.role = w, o.withDefaults(), r
	c.scan.options = &c.options
	c.streams[0].conn, c.streams[1].conn = c, c
	c.streams[0].over, c.streams[1].over = true, true
}

// Receive takes bytes from the peer. An error closes the connection.
func (c *conn) Receive(p []byte) error {
	if c.state == readDead {
		return nil
	}
	if len(c.held) == 0 {
		return c.receive(p, false)
	}
	c.held = append(c.held, p...)
	incomplete := c.state == readHead || c.state == readTrailers
	if incomplete && len(c.held) < c.options.MaxHeaderBytes && bytes.IndexByte(p, '\n') < 0 {
		return nil // no line has come to its end
	}
	return c.receive(c.held, true)
}

// receive reads in, which may be what is held, and holds what is left.
func (c *conn) receive(in []byte, held bool) error {
	c.running = true
	for len(in) > 0 {
		n, err := c.step(in)
		if err != nil {
			c.running = false
			c.die()
			return err
		}
		if n == 0 {
			break
		}
		in = in[n:]
	}
	c.running = false
	c.hold(in, held)
	c.balance()
	return nil
}

// hold keeps the rest of the input, in the memory where it is if that is held
// already, and is not mostly spent.
func (c *conn) hold(rest []byte, held bool) {
	switch {
	case c.state == readDead || len(rest) == 0:
		c.held, c.spent = nil, 0
		return
	case held:
		c.spent += len(c.held) - len(rest)
	}
	if !held || c.spent > len(rest) {
		rest, c.spent = bytes.Clone(rest), 0
	}
	c.held = rest
}

// step reads one piece, and returns how many bytes that took: 0 when there is
// nothing to do until more comes, or something is sent.
func (c *conn) step(in []byte) (int, error) {
	var n int
	var err error
	switch c.state {
	case readHead:
		n, err = c.role.onHead(in)
	case readLength:
		n = int(min(c.length, int64(len(in))))
		c.length -= int64(n)
		c.deliver(in[:n], c.length == 0, len(in) > n)
	case readChunks:
		n, err = c.readChunks(in)
	case readTrailers:
		n, err = c.readTrailers(in)
	case readToEnd, readRaw:
		n = len(in)
		c.deliver(in, false, false)
	case readNone:
		err = c.role.idle()
	default:
		n = len(in)
	}
	if err != nil {
		err = c.role.malformed(err)
	}
	return n, err
}

// readChunks takes one piece of chunked content. Where the end is right behind
// it, both are told at once: that makes one frame of it on HTTP/2.
func (c *conn) readChunks(in []byte) (int, error) {
	const lastChunk = "\r\n0\r\n\r\n"
	data, n, err := c.chunks.next(in)
	if err != nil {
		return 0, err
	}
	if c.chunks.at == chunkTrailers {
		c.state = readTrailers
	}
	if len(data) == 0 {
		return n, nil
	}
	end := bytes.HasPrefix(in[n:], []byte(lastChunk))
	if end {
		n += len(lastChunk)
	}
	c.deliver(data, end, len(in) > n)
	return n, nil
}

func (c *conn) readTrailers(in []byte) (int, error) {
	h, n, err := c.scan.trailers(in)
	if n == 0 {
		return 0, err
	}
	if len(h.Fields) == 0 {
		c.deliver(nil, true, len(in) > n)
		return n, nil
	}
	handler := c.turn.handler
	c.role.received(len(in) > n)
	handler.OnHead(h, true)
	c.role.told()
	return n, nil
}

// deliver gives a piece of content to the handler of the stream in turn.
func (c *conn) deliver(p []byte, end, more bool) {
	s := c.turn
	c.credit += len(p)
	if !end {
		s.handler.OnData(p, false)
		return
	}
	handler := s.handler
	c.role.received(more)
	handler.OnData(p, true)
	c.role.told()
}

// balance reads on, or does not.
func (c *conn) balance() {
	window, limit := c.options.Window, LimitWindow
	pause := c.credit > window || c.paused && c.credit > window/2
	if !pause && (c.state == readNone || c.state == readHead && c.full) {
		pause, limit = len(c.held) > c.options.MaxPipelined, LimitPipelined
	}
	if c.state == readDead {
		pause = false
	}
	if pause != c.paused {
		if pause {
			c.options.hit(limit)
		}
		c.paused = pause
		c.wire.Pause(pause)
	}
}

// tooMuch tells the owner which limit err is about, if it is.
func (c *conn) tooMuch(err error) {
	var v *violation
	if errors.As(err, &v) && v.limit != "" {
		c.options.hit(v.limit)
	}
}
