// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"strings"

	"github.com/shuntmesh/shunt/proxy/message"
)

// input is what of the peer's bytes could not be handled at once.
type input struct {
	preface int // bytes of the preface that came
	// A frame that came in part: its header, and in a pooled buffer its payload.
	header    [frameHeaderLen]byte
	headerLen int
	payload   []byte
	// A header block whose end is outstanding.
	block blockInput
}

func (in *input) empty() bool {
	return in.headerLen == 0 && in.block.id == 0 && (in.preface == 0 || in.preface == len(preface))
}

func (in *input) release(w Wire) {
	if in.payload != nil {
		w.Recycle(in.payload[:0])
		in.payload = nil
	}
	in.headerLen = 0
	in.block.release(w)
}

// Receive takes bytes of the peer. An error ends the connection: all streams
// have ended, and GOAWAY is in the output.
func (c *Conn) Receive(p []byte) error {
	if c.err != nil || c.closing {
		return c.err
	}
	c.enter()
	c.earn(earnReceive)
	err := c.receive(p)
	if err != nil {
		c.fail(err)
	}
	c.exit()
	return err
}

func (c *Conn) receive(p []byte) error {
	if c.w.Unsent() > c.o.MaxOutput {
		c.o.hit(LimitOutput)
		c.w.Abort()
		return connError(message.EnhanceYourCalm, "peer sends and does not read")
	}
	p, err := c.readPreface(p)
	if err != nil {
		return err
	}
	if c.in.headerLen > 0 {
		if p, err = c.completeFrame(p); err != nil {
			return err
		}
	}
	for len(p) > 0 && !c.closing {
		if len(p) < frameHeaderLen {
			c.in.headerLen = copy(c.in.header[:], p)
			return nil
		}
		h := parseFrameHeader(p)
		if err := checkLength(h); err != nil {
			return err
		}
		if len(p) < frameHeaderLen+h.length {
			c.in.headerLen = copy(c.in.header[:], p)
			if len(p) > frameHeaderLen {
				c.in.payload = append(c.w.Buffer(), p[frameHeaderLen:]...)
			}
			return nil
		}
		if err := c.frame(h, p[frameHeaderLen:frameHeaderLen+h.length]); err != nil {
			return err
		}
		p = p[frameHeaderLen+h.length:]
	}
	return nil
}

// readPreface returns what of p follows a client's preface.
func (c *Conn) readPreface(p []byte) ([]byte, error) {
	if c.in.preface == len(preface) {
		return p, nil
	}
	want := preface[c.in.preface:]
	n := min(len(want), len(p))
	if !strings.HasPrefix(want, string(p[:n])) {
		return nil, connError(message.ProtocolError, "preface is not that of HTTP/2")
	}
	c.in.preface += n
	return p[n:], nil
}

func checkLength(h frameHeader) error {
	if h.length > maxFrame {
		return connError(message.FrameSizeError, "frame is longer than SETTINGS_MAX_FRAME_SIZE")
	}
	return nil
}

// completeFrame handles the frame that came in part before, once it is whole,
// and returns what of p follows it.
func (c *Conn) completeFrame(p []byte) ([]byte, error) {
	in := &c.in
	if in.headerLen < frameHeaderLen {
		n := copy(in.header[in.headerLen:], p)
		in.headerLen += n
		p = p[n:]
		if in.headerLen < frameHeaderLen {
			return nil, nil
		}
	}
	h := parseFrameHeader(in.header[:])
	if err := checkLength(h); err != nil {
		return nil, err
	}
	missing := h.length - len(in.payload)
	if len(p) < missing {
		if in.payload == nil && len(p) > 0 {
			in.payload = c.w.Buffer()
		}
		in.payload = append(in.payload, p...)
		return nil, nil
	}
	in.headerLen = 0
	if in.payload == nil { // only the header was cut
		return p[missing:], c.frame(h, p[:missing])
	}
	payload := append(in.payload, p[:missing]...) // maxFrame bytes at most: they fit
	in.payload = nil
	err := c.frame(h, payload)
	c.w.Recycle(payload[:0])
	return p[missing:], err
}

// frame handles one whole frame.
func (c *Conn) frame(h frameHeader, p []byte) error {
	c.frames++
	if !c.settled && (h.kind != frameSettings || h.has(flagAck)) {
		return connError(message.ProtocolError, "first frame is not SETTINGS: peer does not speak HTTP/2")
	}
	if c.in.block.id != 0 && (h.kind != frameContinuation || h.id != c.in.block.id) {
		return connError(message.ProtocolError, "header block is interrupted by another frame")
	}
	switch h.kind {
	case frameData:
		return c.readData(h, p)
	case frameHeaders:
		return c.readHeaders(h, p)
	case framePriority:
		return c.readPriority(h, p)
	case frameRSTStream:
		return c.readReset(h, p)
	case frameSettings:
		return c.readSettings(h, p)
	case framePushPromise:
		return connError(message.ProtocolError, "PUSH_PROMISE was not allowed")
	case framePing:
		return c.readPing(h, p)
	case frameGoAway:
		return c.readGoAway(h, p)
	case frameWindowUpdate:
		return c.readWindowUpdate(h, p)
	case frameContinuation:
		return c.readContinuation(h, p)
	default: // section 5.5: what is not known is ignored
		return c.spend(1)
	}
}
