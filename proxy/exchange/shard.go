// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/h2"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

// maxFree bounds what a shard keeps for the next requests.
const (
	maxFreeExchanges = 1024
	maxFreeBuffers   = 16
)

// shard is the part of a Server that lives on one worker. Nothing of it is
// touched from elsewhere.
type shard struct {
	options  *Options
	worker   *loop.Worker
	interner *message.Interner
	streams  *h2.Pool
	scratch  transport.Scratch
	pool     pool
	conns    map[*clientConn]struct{}
	draining bool // Drain was called
	stopping bool // Shutdown was called
	free     []*exchange
	buffers  [][]byte

	dialing    sync.WaitGroup
	dialCtx    context.Context // ended by Shutdown
	endDialing context.CancelFunc
}

func newShard(o *Options, w *loop.Worker) *shard {
	s := &shard{options: o, worker: w, interner: &message.Interner{}, streams: &h2.Pool{}, conns: map[*clientConn]struct{}{}}
	s.pool = pool{shard: s, newCore: s.newCore, groups: map[groupKey]*group{}}
	s.dialCtx, s.endDialing = context.WithCancel(context.Background())
	return s
}

// dial connects, on a goroutine of its own, and calls done on the worker.
func (s *shard) dial(addr netip.AddrPort, done func(*net.TCPConn, reason.Reason)) {
	s.dialing.Go(func() {
		c, err := s.options.Dial(s.dialCtx, addr)
		why := reason.None
		if err != nil {
			c, why = nil, reason.UpstreamReset
			var failed *upstream.Error
			if errors.As(err, &failed) {
				why = failed.Reason
			}
		}
		if !s.worker.Post(func() { done(c, why) }) && c != nil {
			_ = c.Close()
		}
	})
}

// secure makes a connection speak TLS, and calls done on the worker.
func (s *shard) secure(c *net.TCPConn, k kind, done func(Secured)) {
	protocol := "h2"
	if k == kindHTTP1 {
		protocol = "http/1.1"
	}
	s.dialing.Add(1)
	s.options.Secure(c, protocol, func(secured Secured) {
		defer s.dialing.Done()
		if !s.worker.Post(func() { done(secured) }) && secured.Conn != nil {
			_ = secured.Conn.Close()
		}
	})
}

// transport is t for a connection of this worker, nil for plaintext.
func (s *shard) transport(t *transport.TLS) loop.Transport {
	if t == nil {
		return nil
	}
	t.Share(&s.scratch)
	return t
}

// wait tries again when discovery has answered.
func (s *shard) wait(x *exchange) {
	x.waits++
	turn := x.waits
	x.conn.dispatcher.Wait(func() {
		s.worker.Post(func() {
			if x.phase == picking && x.waits == turn {
				x.try()
			}
		})
	})
}

// newCore takes a new connection to allow as many streams as the one before: else
// each of many requests at once to an endpoint that allows few would be refused on
// every new connection, until it has no attempt left.
func (s *shard) newCore(g *group, conn *loop.Conn, changed func()) core {
	if g.key.kind == kindHTTP1 {
		return h1.NewClient(conn, s.h1Options(), changed)
	}
	o := s.h2Options()
	o.PeerStreams, o.Allows = g.streams, func(n int) { g.streams = n }
	return h2.NewClient(conn, o, changed)
}

func (s *shard) h1Options() h1.Options {
	return h1.Options{
		Limits:   s.options.HTTP1,
		Interner: s.interner,
		Later:    func(f func()) { s.worker.Post(f) },
		LimitHit: s.coreLimitHit,
	}
}

func (s *shard) h2Options() h2.Options {
	return h2.Options{
		Limits:   s.options.HTTP2,
		Interner: s.interner,
		Pool:     s.streams,
		LimitHit: s.coreLimitHit,
	}
}

// exchange returns one that is not in use.
func (s *shard) exchange(c *clientConn, down message.Stream) *exchange {
	var x *exchange
	if n := len(s.free); n > 0 {
		x = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		x = &exchange{shard: s}
	}
	x.conn, x.down, x.phase = c, down, picking
	return x
}

// recycle takes an exchange back of which no stream knows any more.
func (s *shard) recycle(x *exchange) {
	if len(s.free) >= maxFreeExchanges {
		return
	}
	fields := x.copied.Fields[:0]
	f, waits := x.deadline.F, x.waits
	clear(fields[:cap(fields)])
	*x = exchange{shard: s, phase: done, waits: waits + 1, copied: message.Head{Fields: fields}}
	x.deadline.F = f
	s.free = append(s.free, x)
}

func (s *shard) buffer() []byte {
	if n := len(s.buffers); n > 0 {
		b := s.buffers[n-1]
		s.buffers = s.buffers[:n-1]
		return b
	}
	return make([]byte, 0, s.options.Limits.MaxReplay)
}

func (s *shard) reuse(b []byte) {
	if len(s.buffers) < maxFreeBuffers && cap(b) > 0 && cap(b) == s.options.Limits.MaxReplay {
		s.buffers = append(s.buffers, b[:0])
	}
}
