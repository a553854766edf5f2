// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// serverRig is a Server between clients and an application of net/http, which
// all speak HTTP/2.
type serverRig struct {
	t        *testing.T
	server   *Server
	stats    *stats.Stats
	endpoint *balance.Endpoint
	early    bool // dial before a client's connection is served
	client   *http.Transport
	dials    atomic.Int64
	open     sync.WaitGroup // client connections
}

func (s *serverRig) Pick(route.Request, []*balance.Endpoint, time.Time) (*balance.Endpoint, reason.Reason) {
	return s.endpoint, reason.None
}
func (s *serverRig) Wait(func())     {}
func (s *serverRig) Service() string { return "svc" }

func newServerRig(t *testing.T, handler http.HandlerFunc) *serverRig {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	app := &http.Server{Handler: handler, Protocols: &protocols}
	l := listen(t)
	go func() { _ = app.Serve(l) }()
	s := &serverRig{t: t, stats: stats.New(), endpoint: balance.NewEndpoint(l.Addr().(*net.TCPAddr).AddrPort())}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var workers []*loop.Worker
	for range 2 {
		w, err := loop.New(loop.Options{})
		if err != nil {
			t.Fatal(err)
		}
		workers = append(workers, w)
		running.Go(func() { _ = w.Run(ctx) })
	}
	s.server = NewServer(Options{
		Direction: stats.Inbound, Stats: s.stats, Workers: workers, Dial: s.dial,
		Limits: DefaultLimits(), StripErrors: true,
	})
	front := listen(t)
	s.client = &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", front.Addr().String())
		if err == nil {
			s.serve(front)
		}
		return c, err
	}}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		ctx, abort := context.WithTimeout(context.Background(), 5*time.Second)
		defer abort()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		s.open.Wait()
		cancel()
		running.Wait()
		_ = app.Close()
	})
	return s
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (s *serverRig) serve(front *net.TCPListener) {
	c, err := front.AcceptTCP()
	if errors.Is(err, net.ErrClosed) {
		return // net/http dials in advance, and does not wait for the test to end
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	s.open.Add(1)
	client := Client{Conn: c, Protocol: sniff.HTTP2, Destination: s.endpoint.Addr(), Dispatcher: s, Done: s.open.Done}
	if s.early {
		conn, err := s.dial(context.Background(), s.endpoint.Addr())
		if err != nil {
			s.t.Error(err)
			return
		}
		client.Early = &Early{Endpoint: s.endpoint, Conn: conn}
	}
	s.server.Serve(client)
}

func (s *serverRig) dial(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	s.dials.Add(1)
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (s *serverRig) get(body string) error {
	res, err := s.client.RoundTrip(must(http.NewRequest("POST", "http://svc/", strings.NewReader(body))))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || string(got) != body) {
		return errors.New(res.Status + ": " + string(got))
	}
	return err
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

func (s *serverRig) getMany(n int) {
	s.t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := s.get("hello"); err != nil {
				s.t.Error(err)
			}
		})
	}
	all.Wait()
}

func echo(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// TestServer: many requests share a connection to the endpoint.
func TestServer(t *testing.T) {
	s := newServerRig(t, echo)
	s.getMany(1) // or net/http connects more than once
	s.getMany(50)
	if n := s.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
	if n := s.endpoint.Active(); n != 0 {
		t.Errorf("endpoint has %d requests", n)
	}
}

// TestEarly: a connection that was made before joins the pool.
func TestEarly(t *testing.T) {
	s := newServerRig(t, echo)
	s.early = true
	s.getMany(1)
	s.getMany(20)
	if n := s.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

// TestLargeBodies: more than all windows and buffers have room for.
func TestLargeBodies(t *testing.T) {
	s := newServerRig(t, echo)
	if err := s.get(strings.Repeat("0123456789abcdef", 256<<10)); err != nil {
		t.Error(err)
	}
}

// TestDrain: clients are told to reconnect, and lose no request by that.
func TestDrain(t *testing.T) {
	var inside atomic.Int64
	hold := make(chan struct{})
	s := newServerRig(t, func(w http.ResponseWriter, r *http.Request) {
		if inside.Add(1) == 1 {
			<-hold
		}
		echo(w, r)
	})
	first := make(chan error, 1)
	go func() { first <- s.get("first") }()
	for inside.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	s.server.Drain()
	s.getMany(20)
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestShutdown: requests that are under way end first; those that do not are
// cut off when the time is over.
func TestShutdown(t *testing.T) {
	for _, end := range []bool{true, false} {
		inside, hold := make(chan struct{}), make(chan struct{})
		s := newServerRig(t, func(w http.ResponseWriter, r *http.Request) {
			close(inside)
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			echo(w, r)
		})
		answered := make(chan error, 1)
		go func() { answered <- s.get("x") }()
		<-inside
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if end {
			ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
			time.AfterFunc(20*time.Millisecond, func() { close(hold) })
		}
		err := s.server.Shutdown(ctx)
		cancel()
		if got := <-answered; (err == nil) != end || (got == nil) != end {
			t.Errorf("request ends %t: shutdown says %v, request %v", end, err, got)
		}
		s.open.Wait() // Done was called
		if n := s.endpoint.Active(); n != 0 {
			t.Errorf("endpoint has %d requests", n)
		}
	}
}
