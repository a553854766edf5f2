// SPDX-License-Identifier: Apache-2.0

// Package exchange serves clients that speak HTTP: it sends each request to an
// endpoint of its own, and the answer back. It stands between the protocol
// cores (h1, h2), which know messages, and the event loop, which knows sockets.
// What is here runs on the loop's workers and never blocks; only dialling has
// goroutines of its own, which Shutdown joins.
package exchange

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/h2"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// Options of a Server.
type Options struct {
	Direction stats.Direction
	Stats     *stats.Stats
	Workers   []*loop.Worker // at least one
	// Dial connects to an endpoint. Its errors are *upstream.Error.
	Dial func(context.Context, netip.AddrPort) (*net.TCPConn, error)
	// Secure has a connection to an endpoint speak TLS, with the protocol that
	// ALPN names, and calls done from any goroutine. It owns the connection until
	// then. nil is plaintext.
	Secure func(c *net.TCPConn, protocol string, done func(Secured))
	Limits Limits
	HTTP1  h1.Limits
	HTTP2  h2.Limits
	// StripErrors removes the proxy's own fields from what applications answer:
	// in front of an application only this proxy may use them.
	StripErrors bool
}

// Client is a connection whose client speaks HTTP.
type Client struct {
	Conn        *net.TCPConn
	Protocol    sniff.Protocol // HTTP1 or HTTP2
	Pending     []byte         // what was read of Conn already
	Transport   *transport.TLS // nil: Conn has plaintext
	Destination netip.AddrPort // where the client was going
	Dispatcher  attempt.Dispatcher
	Early       *Early // may be nil
	// Done is called when the connection is closed.
	Done func()
}

// Early is a connection to an endpoint that was dialled before the client had
// said what it speaks. It joins the pool.
type Early struct {
	Endpoint *balance.Endpoint
	Conn     *net.TCPConn
	Pending  []byte // what was read of Conn already
}

// Secured is a connection whose handshake is done. One that failed has no Conn.
type Secured struct {
	Conn      *net.TCPConn
	Pending   []byte
	Transport *transport.TLS
}

// Server serves connections until Shutdown.
type Server struct {
	options Options
	shards  []*shard
	open    sync.WaitGroup // client connections
}

// NewServer returns a Server with no connection.
func NewServer(o Options) *Server {
	s := &Server{options: o}
	for _, w := range o.Workers {
		s.shards = append(s.shards, newShard(&s.options, w))
	}
	return s
}

// Serve takes a client's connection over and returns at once.
func (s *Server) Serve(c Client) {
	shard := s.shards[loop.LeastBusy(s.options.Workers)]
	done := c.Done
	s.open.Add(1)
	c.Done = func() { s.open.Done(); done() }
	if !shard.worker.Post(func() { shard.serve(&c) }) {
		_ = c.Conn.Close()
		if c.Early != nil {
			_ = c.Early.Conn.Close()
		}
		c.Done()
	}
}

// Drain tells every client to reconnect when its requests have ended: GOAWAY,
// Connection: close. New connections are served.
func (s *Server) Drain() {
	for _, shard := range s.shards {
		shard.worker.Post(shard.drain)
	}
}

// Shutdown waits until all connections have ended, which each does after the
// requests on it, or until ctx has, and aborts what is left. It must be called
// while the workers run, and nothing may be served after it.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, shard := range s.shards {
		shard.worker.Post(shard.stop)
	}
	ended := make(chan struct{})
	go func() { s.open.Wait(); close(ended) }()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		for _, shard := range s.shards {
			shard.worker.Post(shard.abort)
		}
		<-ended
	}
	for _, shard := range s.shards {
		shard.endDialing()
		shard.worker.Post(shard.pool.close)
		shard.dialing.Wait()
	}
	return err
}
