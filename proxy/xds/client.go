// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnavailable says that discovery can't be asked at the moment. Traffic is
// then passed through to where it was going.
var ErrUnavailable = errors.New("discovery is away")

// Options configure a Client. Zero values of the numbers mean the defaults.
type Options struct {
	Address    string // host:port of discovery
	ServerName string // what the server's certificate must be for; default: the host of Address
	CAPEM      []byte // what the server's certificate is verified with
	TokenFile  string // sent as bearer token; read anew for each stream, since kubelet rotates it
	NodeID     string // told to the server for its logs; decides nothing
	Log        *slog.Logger

	// MaxAddresses bounds how many original destinations are remembered;
	// the least recently used are forgotten first. Default 10,000.
	MaxAddresses int
	// IdleTimeout is how long an unused destination is remembered. Default
	// 10 minutes.
	IdleTimeout time.Duration
}

// How long Resolve waits before traffic is passed through.
const (
	// lookupTimeout is for an answer on a stream that is up. It takes two
	// round trips; a server that needs longer is as good as away.
	lookupTimeout = 2 * time.Second
	// connectPatience is for a connection in progress.
	connectPatience = 300 * time.Millisecond
	// startPatience is for the first connection of the process, so that the
	// first request of a pod is balanced too.
	startPatience = 1500 * time.Millisecond
)

// phase is what the connection is doing.
type phase uint8

const (
	connecting phase = iota
	up
	down // waiting before the next attempt
)

// Client keeps one Delta ADS stream and what it learned over it.
type Client struct {
	opts     Options
	roots    *x509.CertPool
	snapshot atomic.Pointer[Snapshot]
	wake     chan struct{} // holds one token when there is something to send

	mu      sync.Mutex
	state   *state
	waiters map[netip.Addr]chan struct{} // closed when the picture of the address changed
	phase   phase
	changed chan struct{} // closed when the phase changed
	wasUp   bool
	started time.Time
	stats   Stats
}

// NewClient checks the options. Run connects.
func NewClient(o Options) (*Client, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("discovery address %q: %w (allowed: host:port)", o.Address, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.CAPEM) {
		return nil, errors.New("discovery CA holds no certificate (PEM is wanted)")
	}
	if o.ServerName == "" {
		o.ServerName = host
	}
	if o.MaxAddresses == 0 {
		o.MaxAddresses = 10_000
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		opts:    o,
		roots:   roots,
		wake:    make(chan struct{}, 1),
		state:   newState(),
		waiters: map[netip.Addr]chan struct{}{},
		changed: make(chan struct{}),
		started: time.Now(),
	}
	c.snapshot.Store(c.state.snapshot)
	return c, nil
}

// Snapshot returns the newest picture; never nil. It is one atomic load.
func (c *Client) Snapshot() *Snapshot { return c.snapshot.Load() }

// Resolve finds out what an original destination is. It returns as soon as the
// Snapshot knows; else it asks discovery and waits until the answer is whole,
// ctx ends, or discovery turns out to be away (ErrUnavailable, soon). What was
// asked for stays subscribed, so that a later call has the answer.
func (c *Client) Resolve(ctx context.Context, ap netip.AddrPort) (Destination, error) {
	if d, known := c.Snapshot().Destination(ap); known {
		return d, nil
	}
	return c.ask(ctx, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}

func (c *Client) ask(ctx context.Context, ap netip.AddrPort) (Destination, error) {
	asked := time.Now()
	for {
		answer, changed, until := c.want(ap, asked)
		if d, known := c.Snapshot().Destination(ap); known {
			return d, nil
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Destination{}, ctx.Err()
		case <-answer:
		case <-changed:
		case <-timer.C:
			c.mu.Lock()
			c.stats.Away++
			c.mu.Unlock()
			return Destination{}, ErrUnavailable
		}
		timer.Stop()
	}
}

// want subscribes, and returns what to wait for and until when.
func (c *Client) want(ap netip.AddrPort, asked time.Time) (answer, changed <-chan struct{}, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.state.demands[ap.Addr()] == nil {
		c.stats.Evicted += uint64(c.state.makeRoom(c.opts.MaxAddresses, now))
	}
	c.state.want(ap, now)
	c.publish()
	ch := c.waiters[ap.Addr()]
	if ch == nil {
		ch = make(chan struct{})
		c.waiters[ap.Addr()] = ch
	}
	return ch, c.changed, c.patience(asked)
}

// patience is until when a question waits, by what the connection is doing.
func (c *Client) patience(asked time.Time) time.Time {
	until := asked
	switch c.phase {
	case up:
		return asked.Add(lookupTimeout)
	case connecting:
		until = asked.Add(connectPatience)
	case down:
	}
	if first := c.started.Add(startPatience); !c.wasUp && first.After(until) {
		return first
	}
	return until
}

// publish stores the next snapshot, wakes those who wait for what it touched,
// and has the requests sent that follow from it. c.mu is held.
func (c *Client) publish() {
	snapshot, touched := c.state.publish()
	c.snapshot.Store(snapshot)
	for _, addr := range touched {
		if ch := c.waiters[addr]; ch != nil {
			close(ch)
			delete(c.waiters, addr)
		}
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// setPhase wakes those who wait, since how long they should has changed.
func (c *Client) setPhase(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == p {
		return
	}
	c.phase = p
	c.wasUp = c.wasUp || p == up
	close(c.changed)
	c.changed = make(chan struct{})
}

// Stats are counters since the start, and gauges.
type Stats struct {
	Connected bool   // gauge: the stream is up
	Streams   uint64 // streams opened
	Updates   uint64 // responses applied, whole or in part
	Nacks     uint64 // responses with at least one resource refused
	Evicted   uint64 // destinations forgotten for want of room
	Away      uint64 // Resolve calls that ended with ErrUnavailable
	Addresses int    // gauge: original destinations remembered
	Clusters  int    // gauge: clusters known
	Endpoints int    // gauge: endpoints known, each address once
}

// Stats returns the present figures.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.stats
	out.Connected = c.phase == up
	out.Addresses = len(c.state.demands)
	out.Clusters = c.state.snapshot.clusters.len
	out.Endpoints = len(c.state.members)
	return out
}
