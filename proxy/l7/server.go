// SPDX-License-Identifier: Apache-2.0

// Package l7 serves HTTP/2 and HTTP/1.1 connections and sends each request to
// an endpoint of its own, with net/http on both sides. It is the plain first
// version: an event loop replaces it whole, so nothing depends on its insides.
// It starts no goroutine; those of net/http end with Serve and Shutdown.
package l7

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// Early is a connection to an endpoint that was dialled before the client had
// said what it speaks. The first request uses it, or it is closed.
type Early struct {
	Endpoint *balance.Endpoint
	Conn     net.Conn
}

// Options of a Server.
type Options struct {
	Direction stats.Direction
	Stats     *stats.Stats
	Log       *slog.Logger
	// Dial connects to an endpoint. Its errors are *upstream.Error.
	Dial           func(context.Context, netip.AddrPort) (net.Conn, error)
	MaxStreams     int           // open at once on one connection
	MaxHeaderBytes int           // of one request
	HeaderTimeout  time.Duration // from a request's first byte to the end of its header
	// StripErrors removes the proxy's own headers from what applications
	// answer: in front of an application only this proxy may use them.
	StripErrors bool
}

// Server serves connections until Shutdown.
type Server struct {
	options  Options
	h1       *http.Transport
	h2       *pool
	draining atomic.Bool
	buffers  sync.Pool
	upgrades context.Context // ends those connections that net/http no longer knows
	end      context.CancelFunc

	mu      sync.Mutex
	current *http.Server
	all     []*http.Server // current, and the one that a drain replaced
}

// NewServer returns a Server with no connection.
func NewServer(o Options) *Server {
	s := &Server{options: o}
	s.upgrades, s.end = context.WithCancel(context.Background())
	s.h1 = s.newTransport(false)
	s.h2 = &pool{transport: s.newTransport(true), groups: map[netip.AddrPort]*group{}}
	s.replace()
	return s
}

func (s *Server) replace() (old *http.Server) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		Protocols:         &protocols,
		ReadHeaderTimeout: s.options.HeaderTimeout,
		MaxHeaderBytes:    2 * s.options.MaxHeaderBytes, // handle answers, with a reason, before net/http does
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              16 << 10,
			MaxConcurrentStreams:          s.options.MaxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: 64 * streamWindow,
		},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.current = s.current, server
	s.all = append(s.all, server)
	return old
}

// streamWindow bounds what one slow stream can make us hold.
const streamWindow = 256 << 10

type connKey struct{}

// conn is an accepted connection. It comes from a listener of its own, so that
// Serve can wait for its end.
type conn struct {
	net.Conn
	dispatcher attempt.Dispatcher
	early      atomic.Pointer[Early]
	streams    atomic.Int64
	accepted   atomic.Bool
	closeOnce  sync.Once
	closed     chan struct{}
}

func (c *conn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// listener accepts one connection, and then waits for its end or its own.
type listener struct {
	*conn
	stop chan struct{}
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	if l.accepted.CompareAndSwap(false, true) {
		return l.conn, nil
	}
	select {
	case <-l.closed:
	case <-l.stop:
	}
	return nil, net.ErrClosed
}

func (l *listener) Addr() net.Addr { return l.LocalAddr() }

func (l *listener) Close() error { l.once.Do(func() { close(l.stop) }); return nil }

// Serve serves one connection and returns when it is closed. early may be nil.
func (s *Server) Serve(nc net.Conn, d attempt.Dispatcher, early *Early) {
	c := &conn{Conn: nc, dispatcher: d, closed: make(chan struct{})}
	if early != nil {
		c.early.Store(early)
	}
	defer c.dropEarly()
	for !c.accepted.Load() {
		s.mu.Lock()
		server := s.current
		s.mu.Unlock()
		if server == nil {
			_ = c.Close()
			return
		}
		_ = server.Serve(&listener{conn: c, stop: make(chan struct{})}) // ErrServerClosed before it accepts: a drain came between
	}
	<-c.closed
}

// CloseWrite is for upgraded connections.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *conn) dropEarly() {
	if e := c.early.Swap(nil); e != nil {
		_ = e.Conn.Close()
	}
}

// Drain tells every client to reconnect when its requests have ended: GOAWAY,
// Connection: close. Connections go on being served, new ones too.
func (s *Server) Drain(ctx context.Context) {
	if s.draining.Swap(true) {
		return
	}
	done, cancel := context.WithCancel(ctx)
	cancel() // Shutdown announces, and does not wait
	_ = s.replace().Shutdown(done)
}

// Shutdown serves no new connection, waits until all requests have ended or
// ctx has, and closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	s.current = nil
	servers := s.all
	s.mu.Unlock()
	var err error
	for _, server := range servers {
		if e := server.Shutdown(ctx); e != nil {
			err = e
			_ = server.Close()
		}
	}
	context.AfterFunc(ctx, s.end)
	s.h1.CloseIdleConnections()
	s.h2.close()
	return err
}
