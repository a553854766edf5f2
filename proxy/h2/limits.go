// SPDX-License-Identifier: Apache-2.0

package h2

import "github.com/shuntmesh/shunt/proxy/message"

// There is no clock here, so budgets are kept against progress. What a peer
// sends one by one, as keepalive PINGs, is earned back by each Receive; what
// it floods us with comes by thousands in one.
const (
	earnReceive = 16
	earnRequest = 8
	// A peer answers DATA by WINDOW_UPDATEs for the stream and the connection,
	// net/http for each 4 KiB that the application read, others for less, and
	// grpc-go by a PING as well: so many for a frame, and one for so many bytes.
	earnData      = 4
	earnDataBytes = 256

	// soonFrames is within how many frames after its HEADERS a stream counts as
	// reset soon.
	soonFrames = 128
)

// spend counts a frame that brings nothing.
func (c *Conn) spend(n int) error {
	if c.calm -= n; c.calm >= 0 {
		return nil
	}
	c.o.hit(LimitControl)
	return connError(message.EnhanceYourCalm, "too many frames without requests or data")
}

func (c *Conn) earn(n int) { c.calm = min(c.calm+n, c.o.MaxControl) }

// annoyed counts a stream that the peer had us open for nothing.
func (c *Conn) annoyed() error {
	if !c.server() {
		return nil
	}
	if c.resets++; c.resets <= c.o.MaxResets {
		return nil
	}
	c.o.hit(LimitResets)
	return connError(message.EnhanceYourCalm, "too many streams were reset")
}

// served counts a stream that was worth it.
func (c *Conn) served() { c.resets = max(c.resets-1, 0) }

// soon tells whether s was opened only just now, and had no answer.
func (c *Conn) soon(s *stream) bool { return !s.headSent && c.frames-s.born < soonFrames }

// recentLen is how many streams are remembered that ended.
const recentLen = 32

// recent knows how the last streams ended: frames which the peer sent before it
// heard of our RST_STREAM are no errors (RFC 9113, section 5.1, "closed").
type recent struct {
	ids  []uint32 // stream id << 1, + 1 when it was we who reset it
	next int
}

func (r *recent) add(id uint32, reset bool) {
	entry := id << 1
	if reset {
		entry++
	}
	if len(r.ids) < recentLen {
		r.ids = append(r.ids, entry)
		return
	}
	r.ids[r.next%recentLen] = entry
	r.next = (r.next + 1) % recentLen
}

func (r *recent) find(id uint32) (known, reset bool) {
	for _, entry := range r.ids {
		if entry>>1 == id {
			return true, entry&1 == 1
		}
	}
	return false, false
}
