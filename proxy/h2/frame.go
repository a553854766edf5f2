// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/binary"

	"github.com/shuntmesh/shunt/proxy/message"
)

// preface is what a client begins with (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

type frameType uint8

// RFC 9113, section 6.
const (
	frameData         frameType = 0x0
	frameHeaders      frameType = 0x1
	framePriority     frameType = 0x2
	frameRSTStream    frameType = 0x3
	frameSettings     frameType = 0x4
	framePushPromise  frameType = 0x5
	framePing         frameType = 0x6
	frameGoAway       frameType = 0x7
	frameWindowUpdate frameType = 0x8
	frameContinuation frameType = 0x9
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const frameHeaderLen = 9

type frameHeader struct {
	length int
	kind   frameType
	flags  uint8
	id     uint32
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

// parseFrameHeader reads the first nine bytes of p.
func parseFrameHeader(p []byte) frameHeader {
	return frameHeader{
		length: int(p[0])<<16 | int(p[1])<<8 | int(p[2]),
		kind:   frameType(p[3]),
		flags:  p[4],
		id:     binary.BigEndian.Uint32(p[5:]) & maxStreamID,
	}
}

func appendFrameHeader(dst []byte, length int, kind frameType, flags uint8, id uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// unpad returns the payload of a DATA or HEADERS frame without its padding.
func unpad(h frameHeader, p []byte) ([]byte, error) {
	if !h.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, connError(message.FrameSizeError, "padded frame is empty")
	}
	pad := int(p[0])
	if pad >= len(p) {
		return nil, connError(message.ProtocolError, "padding is longer than its frame")
	}
	return p[1 : len(p)-pad], nil
}

// Frames are not written any more once the connection failed.

func (c *Conn) writeReset(id uint32, code message.Code) {
	c.writeWord(frameRSTStream, id, uint32(code))
}

func (c *Conn) writeWindowUpdate(id uint32, n int64) {
	c.writeWord(frameWindowUpdate, id, uint32(n))
}

func (c *Conn) writeWord(kind frameType, id, word uint32) {
	if c.err != nil {
		return
	}
	out := c.w.Output()
	*out = binary.BigEndian.AppendUint32(appendFrameHeader(*out, 4, kind, 0, id), word)
}

func (c *Conn) writePing(flags uint8, payload []byte) {
	if c.err != nil {
		return
	}
	out := c.w.Output()
	*out = append(appendFrameHeader(*out, len(payload), framePing, flags, 0), payload...)
}

func (c *Conn) writeGoAway(last uint32, code message.Code, debug string) {
	if c.err != nil {
		return
	}
	out := c.w.Output()
	b := appendFrameHeader(*out, 8+len(debug), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	*out = append(b, debug...)
}
