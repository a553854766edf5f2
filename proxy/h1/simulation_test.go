// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/shuntmesh/shunt/proxy/message"
)

// core is what a loop calls.
type core interface {
	Receive(p []byte) error
	End() error
	Drained()
	Closed(err error)
}

// socket is one end of a simulated connection. It behaves as a loop's Conn: its
// output is moved in pieces, and Drained is owed above the mark.
type socket struct {
	wire
	core    core
	peer    *socket
	high    bool
	ended   bool // the peer's FIN was told
	gone    bool
	most    int // that its output held
	drained int
	proxy   bool
}

func connected(a, b *socket) { a.peer, b.peer = b, a }

// move takes one step of the connection in this direction.
func (s *socket) move(random *rand.Rand) bool {
	p := s.peer
	s.most = max(s.most, len(s.out))
	if s.gone || p.gone {
		return false
	}
	if s.reset || p.reset {
		s.end()
		p.end()
		return true
	}
	s.high = s.high || len(s.out) > highWater
	if len(s.out) > 0 && (!p.paused || p.closed) {
		n := 1 + random.IntN(min(len(s.out), 1<<random.IntN(18)))
		piece := bytes.Clone(s.out[:n])
		s.out = append(s.out[:0], s.out[n:]...)
		if !p.closed {
			if err := p.core.Receive(piece); err != nil {
				p.closed = true
			}
		}
		if len(s.out) == 0 && s.high && !s.closed {
			s.high = false
			s.drained++
			s.core.Drained()
		}
		return true
	}
	if len(s.out) == 0 && (s.fin || s.closed) && !p.ended {
		p.ended = true
		if !p.closed {
			_ = p.core.End()
		}
		return true
	}
	if s.closed && s.ended && len(s.out) == 0 {
		s.end()
		return true
	}
	return false
}

func (s *socket) end() {
	if !s.gone {
		s.gone = true
		s.core.Closed(nil)
	}
}

// script is what one side sends: a head, pieces of content, trailers.
type script struct {
	head    *message.Head
	pieces  [][]byte
	trailer *message.Head
	// told is what the other side should hear.
	told string
}

func makeScript(random *rand.Rand, h *message.Head) *script {
	x := &script{head: h}
	with(h, "x-number", fmt.Sprint(random.IntN(5)))
	total, kind := 0, random.IntN(4)
	for range random.IntN(6) * min(kind, 1) {
		p := bytes.Repeat([]byte{byte('a' + random.IntN(26))}, 1+random.IntN(1<<random.IntN(21)))
		x.pieces = append(x.pieces, p)
		total += len(p)
	}
	switch kind {
	case 1:
		h.ContentLength = int64(total)
		with(h, "content-length", fmt.Sprint(total))
	case 2:
		x.trailer = with(trailers(), "x-sum", fmt.Sprint(total))
	}
	var log recorder
	log.OnHead(h, false)
	for _, p := range x.pieces {
		log.OnData(p, false)
	}
	if x.trailer != nil {
		log.note("%s", describe(x.trailer))
	}
	log.note("end")
	x.told = log.text()
	return x
}

// empty tells whether the message ends with its head.
func (x *script) empty() bool { return len(x.pieces) == 0 && x.trailer == nil }

// sender sends a script while its stream has room.
type sender struct {
	stream message.Stream
	script *script
	at     int // -1 before the head
	done   bool
	// behind is the request that an answer must not end before; with early it
	// may begin.
	behind *taker
	early  bool
}

func (s *sender) step() bool {
	x := s.script
	if s.done || s.stream.Unsent() > 0 {
		return false
	}
	last := s.at+1 >= len(x.pieces)
	if s.behind != nil && !s.behind.ended && (last || !s.early) {
		return false
	}
	switch {
	case s.at < 0:
		s.done = x.empty()
		s.stream.SendHead(x.head, s.done)
	case s.at < len(x.pieces):
		s.done = s.at == len(x.pieces)-1 && x.trailer == nil
		s.stream.SendData(x.pieces[s.at], s.done)
	default:
		s.done = true
		s.stream.SendHead(x.trailer, true)
	}
	s.at++
	return true
}

// taker hears a message, and credits what it heard some time later.
type taker struct {
	recorder
	stream message.Stream
	owed   int
	ended  bool
}

func (k *taker) OnHead(h *message.Head, end bool) {
	k.recorder.OnHead(h, end)
	k.ended = k.ended || end
}

func (k *taker) OnData(p []byte, end bool) {
	k.recorder.OnData(p, end)
	k.owed += len(p)
	k.ended = k.ended || end
}

func (k *taker) step() bool {
	if k.owed == 0 {
		return false
	}
	k.stream.Credit(k.owed)
	k.owed = 0
	return true
}
