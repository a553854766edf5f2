// SPDX-License-Identifier: Apache-2.0

package exchange

import "github.com/shuntmesh/shunt/proxy/message"

// body is what must be kept of a request's body: all of it while no endpoint
// has it, which the client's window bounds; thereafter its beginning.
type body struct {
	bytes    []byte
	short    [256]byte // what bytes begins in: most messages of gRPC fit
	trailers *message.Head
	ended    bool // nothing more comes from the client
	lost     bool // too long to be sent once more
}

func (b *body) keep(p []byte, bounded bool, s *shard) {
	size := len(b.bytes) + len(p)
	switch {
	case b.lost || len(p) == 0:
		return
	case bounded && size > s.options.Limits.MaxReplay:
		b.lose(s)
		return
	case b.bytes == nil && size <= len(b.short):
		b.bytes = b.short[:0]
	case cap(b.bytes) < size && cap(b.bytes) < s.options.Limits.MaxReplay:
		b.bytes = append(s.buffer(), b.bytes...)
	}
	b.bytes = append(b.bytes, p...)
}

// bound forgets a body that is too long, now that an endpoint has it.
func (b *body) bound(s *shard) {
	if len(b.bytes) > s.options.Limits.MaxReplay {
		b.lose(s)
	}
}

func (b *body) lose(s *shard) {
	b.lost = true
	s.reuse(b.bytes)
	b.bytes = nil
}

func (b *body) keepTrailers(h *message.Head) {
	kept := h
	if !h.Stable {
		kept = &message.Head{}
		h.CopyTo(kept)
	}
	b.trailers = kept
}

// drop forgets all: no other attempt follows.
func (b *body) drop(s *shard) {
	s.reuse(b.bytes)
	b.bytes, b.trailers = nil, nil
}
