// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/internal/xdsapi"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
	// steady is how long a stream must live for the next attempt to be an
	// early one: a server may let us in and then refuse what we ask for.
	steady = 5 * time.Second
	// A control plane's node that died says nothing; these notice it within
	// 20 s. grpc-go allows no less than 10 s between pings.
	pingEvery   = 10 * time.Second
	pingTimeout = 10 * time.Second
	dialTimeout = 5 * time.Second
	// bufferSize keeps a sidecar small: grpc's default is 32 KiB, twice.
	bufferSize = 4 << 10
	maxToken   = 16 << 10
)

// Run keeps the client connected until ctx ends, and joins all that it started.
// While discovery is away the last good state stays.
func (c *Client) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.sweep(ctx) })
	wait, lastErr := minBackoff, ""
	for ctx.Err() == nil {
		c.setPhase(connecting)
		begin := time.Now()
		wasUp, err := c.session(ctx)
		c.setPhase(down)
		if ctx.Err() != nil {
			break
		}
		if wasUp && time.Since(begin) > steady {
			wait, lastErr = minBackoff, ""
		}
		if text := err.Error(); text != lastErr { // once, not every 10 s
			c.opts.Log.Warn("reconnect to discovery", "address", c.opts.Address, "err", err)
			lastErr = text
		}
		// Full jitter, so that proxies which lost the same replica do not
		// come back at the same moment.
		task.Sleep(ctx, minBackoff/2+rand.N(wait))
		wait = min(2*wait, maxBackoff)
	}
	return nil
}

// session is one connection and its stream. It makes a new connection each
// time: the address is a Service's, and another replica may answer.
func (c *Client) session(parent context.Context) (wasUp bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	token, err := readToken(c.opts.TokenFile)
	if err != nil {
		return false, err
	}
	conn, err := grpc.NewClient("passthrough:///"+c.opts.Address, c.dialOptions()...)
	if err != nil {
		return false, fmt.Errorf("prepare connection: %w", err)
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, xdsapi.DeltaMethod)
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	c.mu.Lock()
	c.state.reconnect()
	c.mu.Unlock()

	sent := make(chan error, 1)
	go func() { sent <- c.sendLoop(ctx, stream, cancel) }()
	wasUp, err = c.receiveLoop(stream)
	cancel()
	_ = <-sent // what went wrong first is what receiving saw
	return wasUp, err
}

func (c *Client) dialOptions() []grpc.DialOption {
	dialer := net.Dialer{Timeout: dialTimeout}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			RootCAs:    c.roots,
			ServerName: c.opts.ServerName,
			MinVersion: tls.VersionTLS13,
		})),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}),
		grpc.WithNoProxy(), // HTTPS_PROXY of the pod is the application's
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
	}
}

// sendLoop sends what the state has to say. On an error it ends the stream;
// why, receiveLoop learns.
func (c *Client) sendLoop(ctx context.Context, stream grpc.ClientStream, cancel func()) error {
	node := &xdsapi.Node{Id: c.opts.NodeID, UserAgentName: "shunt"}
	for {
		for {
			c.mu.Lock()
			req := c.state.next()
			c.mu.Unlock()
			if req == nil {
				break
			}
			req.Node, node = node, nil // with the first alone
			if err := stream.SendMsg(req); err != nil {
				cancel()
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		}
	}
}

// receiveLoop returns when the stream ends. The headers tell that we were let
// in, also while we ask for nothing.
func (c *Client) receiveLoop(stream grpc.ClientStream) (wasUp bool, err error) {
	if md, err := stream.Header(); err == nil && md != nil {
		c.connected()
		wasUp = true
	}
	for {
		var resp xdsapi.DeltaDiscoveryResponse
		if err := stream.RecvMsg(&resp); err != nil {
			return wasUp, fmt.Errorf("receive: %w", err)
		}
		c.apply(&resp)
	}
}

func (c *Client) connected() {
	c.mu.Lock()
	c.stats.Streams++
	c.mu.Unlock()
	c.setPhase(up)
	c.opts.Log.Info("connected to discovery", "address", c.opts.Address)
}

func (c *Client) apply(resp *xdsapi.DeltaDiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Updates++
	if err := c.state.apply(resp); err != nil {
		c.stats.Nacks++
		c.opts.Log.Warn("refuse resources of discovery", "type", resp.GetTypeUrl(), "err", err)
	}
	c.publish()
}

// readToken returns "" without an error when no file is configured: tests, and
// servers that authenticate otherwise.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("read token: %s does not hold one line of at most %d bytes", file, maxToken)
	}
	return token, nil
}
