// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"encoding/binary"
	"math"

	"github.com/shuntmesh/shunt/proxy/message"
)

type setting uint16

// RFC 9113, section 6.5.2, and RFC 8441, section 3.
const (
	settingHeaderTableSize      setting = 0x1
	settingEnablePush           setting = 0x2
	settingMaxConcurrentStreams setting = 0x3
	settingInitialWindowSize    setting = 0x4
	settingMaxFrameSize         setting = 0x5
	settingMaxHeaderListSize    setting = 0x6
	settingEnableConnect        setting = 0x8
)

const settingLen = 6

// peerSettings are those of the peer that matter to us.
type peerSettings struct {
	headerTable     uint32
	maxStreams      uint32
	window          int64 // of a new stream
	maxFrame        int
	maxHeaderList   uint32
	connectProtocol bool
}

func defaultPeerSettings() peerSettings {
	return peerSettings{headerTable: headerTable, maxStreams: peerStreams, window: defaultWindow, maxFrame: 16384, maxHeaderList: math.MaxUint32}
}

// sendSettings announces our settings, and the window of the connection, which
// is no setting.
func (c *Conn) sendSettings() {
	out := c.w.Output()
	at := len(*out)
	b := appendFrameHeader(*out, 0, frameSettings, 0, 0)
	if c.server() {
		b = appendSetting(b, settingMaxConcurrentStreams, c.o.MaxStreams)
		b = appendSetting(b, settingEnableConnect, 1)
	} else {
		b = appendSetting(b, settingEnablePush, 0)
	}
	b = appendSetting(b, settingInitialWindowSize, c.o.StreamWindow)
	b = appendSetting(b, settingMaxHeaderListSize, c.o.MaxHeaderBytes)
	b[at+2] = byte(len(b) - at - frameHeaderLen)
	*out = b
	if more := c.o.ConnWindow - defaultWindow; more > 0 {
		c.writeWindowUpdate(0, int64(more))
	}
}

func appendSetting(dst []byte, id setting, value int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(id))
	return binary.BigEndian.AppendUint32(dst, uint32(value))
}

func (c *Conn) readSettings(h frameHeader, p []byte) error {
	switch {
	case h.id != 0:
		return connError(message.ProtocolError, "SETTINGS on a stream")
	case h.has(flagAck) && len(p) != 0, len(p)%settingLen != 0:
		return connError(message.FrameSizeError, "SETTINGS has a bad length")
	case h.has(flagAck):
		c.acked = true
		return c.spend(1)
	}
	if err := c.spend(1 + len(p)/(16*settingLen)); err != nil {
		return err
	}
	before := c.peer
	if !c.settled {
		c.peer.maxStreams = peerStreams // what it was taken for counts no longer
	}
	for ; len(p) > 0; p = p[settingLen:] {
		id, value := setting(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])
		if err := c.applySetting(id, value); err != nil {
			return err
		}
	}
	if !c.settled {
		c.settled = true
		c.roomChanged()
	}
	if c.o.Allows != nil {
		c.o.Allows(int(c.peer.maxStreams))
	}
	if c.enc != nil && c.peer.headerTable != before.headerTable {
		c.enc.SetMaxTable(c.peer.headerTable)
	}
	if c.peer.maxStreams > before.maxStreams {
		c.roomChanged()
	}
	out := c.w.Output()
	*out = appendFrameHeader(*out, 0, frameSettings, flagAck, 0)
	return c.moveWindows(c.peer.window - before.window)
}

// applySetting notes one setting of the peer's; what of it concerns open
// streams is done when all are read.
func (c *Conn) applySetting(id setting, value uint32) error {
	switch id {
	case settingHeaderTableSize:
		c.peer.headerTable = value
	case settingEnablePush:
		if value > 1 || value == 1 && !c.server() {
			return connError(message.ProtocolError, "SETTINGS_ENABLE_PUSH has a bad value")
		}
	case settingMaxConcurrentStreams:
		c.peer.maxStreams = value
	case settingInitialWindowSize:
		if value > maxWindow {
			return connError(message.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
		}
		c.peer.window = int64(value)
	case settingMaxFrameSize:
		if value < 16384 || value > 1<<24-1 {
			return connError(message.ProtocolError, "SETTINGS_MAX_FRAME_SIZE is out of bounds")
		}
		c.peer.maxFrame = int(value)
	case settingEnableConnect:
		if value > 1 || value == 0 && c.peer.connectProtocol {
			return connError(message.ProtocolError, "SETTINGS_ENABLE_CONNECT_PROTOCOL has a bad value")
		}
		c.peer.connectProtocol = value == 1
	case settingMaxHeaderListSize:
		c.peer.maxHeaderList = value
	}
	return nil
}

// moveWindows changes the windows of all streams by what the peer changed their
// initial value by (section 6.9.2). A window that becomes larger lets waiting
// data go at once: no WINDOW_UPDATE needs to follow.
func (c *Conn) moveWindows(delta int64) error {
	if delta == 0 || c.streams.n == 0 {
		return nil
	}
	for _, s := range c.streams.slots {
		if s == nil {
			continue
		}
		if s.sendWin += delta; s.sendWin > maxWindow {
			return connError(message.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes a window overflow")
		}
		c.requeue(s)
	}
	c.pump()
	return nil
}
