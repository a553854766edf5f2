// SPDX-License-Identifier: Apache-2.0

package l7

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

func (s *Server) newTransport(h2 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	t := &http.Transport{
		Protocols:              &protocols,
		DialContext:            s.dial,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    64,
		MaxResponseHeaderBytes: int64(4 * s.options.MaxHeaderBytes),
		ExpectContinueTimeout:  time.Second,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
		// Below the 5 s after which common servers close an idle connection:
		// who closes first wins the race against the next request.
		IdleConnTimeout: 4 * time.Second,
	}
	if h2 {
		t.IdleConnTimeout = 5 * time.Minute
		t.HTTP2 = &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamWindow,
			// A stream that its client does not read must not stop the
			// others, which are of other clients: its own window does.
			MaxReceiveBufferPerConnection: 1 << 30,
			// No pings: a grpc-go server ends a connection, streams and all,
			// on which pings come more often than every 5 minutes. A peer
			// that has vanished is found by TCP_USER_TIMEOUT and keepalive.
		}
	}
	return t
}

type earlyKey struct{}

// dial takes the early connection where the request that dials has one.
func (s *Server) dial(ctx context.Context, _, address string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	if c, ok := ctx.Value(earlyKey{}).(*conn); ok {
		if e := c.early.Load(); e != nil && e.Endpoint.Addr() == addr && c.early.CompareAndSwap(e, nil) {
			return e.Conn, nil
		}
	}
	return s.options.Dial(ctx, addr)
}

// pool shares HTTP/2 connections per address. http.Transport's own pool dials
// once for each request that finds no connection.
type pool struct {
	transport *http.Transport
	mu        sync.Mutex
	groups    map[netip.AddrPort]*group
	closed    bool
}

type group struct {
	conns []*http.ClientConn
	call  *call // the one attempt to connect under way
}

type call struct {
	done chan struct{}
	err  error
}

// get returns a connection on which one request is reserved.
func (p *pool) get(ctx context.Context, addr netip.AddrPort) (*http.ClientConn, error) {
	for {
		p.mu.Lock()
		g := p.groups[addr]
		if g == nil {
			g = &group{}
			p.groups[addr] = g
		}
		for _, c := range g.conns {
			if c.Reserve() == nil {
				p.mu.Unlock()
				return c, nil
			}
		}
		wait := g.call
		if wait == nil {
			g.call = &call{done: make(chan struct{})}
			p.mu.Unlock()
			return p.connect(ctx, addr, g)
		}
		p.mu.Unlock()
		select {
		case <-wait.done:
			if wait.err != nil {
				return nil, wait.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect is not ended by ctx: others wait for the outcome. Dial is bounded.
func (p *pool) connect(ctx context.Context, addr netip.AddrPort, g *group) (*http.ClientConn, error) {
	c, err := p.transport.NewClientConn(context.WithoutCancel(ctx), "http", addr.String())
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.closed {
		_ = c.Close()
		err = net.ErrClosed
	}
	if err == nil {
		if err = c.Reserve(); err == nil {
			g.conns = append(g.conns, c)
		}
	}
	p.prune()
	g.call.err = err
	close(g.call.done)
	g.call = nil
	return c, err
}

// prune forgets closed connections, of all addresses: connecting is rare.
func (p *pool) prune() {
	for addr, g := range p.groups {
		g.conns = slices.DeleteFunc(g.conns, func(c *http.ClientConn) bool { return c.Err() != nil })
		if len(g.conns) == 0 && g.call == nil {
			delete(p.groups, addr)
		}
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, g := range p.groups {
		for _, c := range g.conns {
			_ = c.Close()
		}
	}
}

// streamError has the fields of net/http's own type, which errors.As fills.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "http2: stream error" }

// classify says what became of a request that got no response.
func classify(err error) reason.Reason {
	var dial *upstream.Error
	if errors.As(err, &dial) {
		return dial.Reason
	}
	var stream streamError
	if errors.As(err, &stream) && stream.Code == 7 { // REFUSED_STREAM, RFC 9113, 8.7
		return reason.RefusedStream
	}
	// net/http exports none of these. Each means that no byte of the stream
	// was taken up: GOAWAY below it, or a connection that was closed before.
	for _, text := range []string{"graceful shutdown GOAWAY", "client conn not usable", "client conn could not be established", "connection is unavailable"} {
		if strings.Contains(err.Error(), text) {
			return reason.RefusedStream
		}
	}
	if strings.Contains(err.Error(), "malformed") {
		return reason.UpstreamInvalid
	}
	return reason.UpstreamReset
}
