// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/internal/xdsapi"
)

const (
	// A pod's start waits for none of this, so the pauses are longer than a
	// sidecar's: nodes come back after sidecars.
	minPause = 500 * time.Millisecond
	maxPause = 15 * time.Second
	// steady is how long a stream must live for the next attempt to be an early
	// one: discovery may let us in and then refuse what we ask for.
	steady    = 5 * time.Second
	maxToken  = 16 << 10
	maxDetail = 1 << 10 // of what we refuse, in words
	// invalidArgument is gRPC's code for what was sent and can't be used.
	invalidArgument = 3
)

// listen keeps a stream until ctx ends.
func (f *Feed) listen(ctx context.Context) {
	retry, lastErr := task.Backoff{Min: minPause, Max: maxPause}, ""
	for ctx.Err() == nil {
		begin := time.Now()
		err := f.session(ctx)
		f.options.Metrics.connected.Set(0)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > steady {
			retry.Reset()
			lastErr = ""
		}
		if err.Error() != lastErr { // once, not every 15 s
			f.options.Log.Warn("reconnect to discovery; what is balanced at connect stays as it is", "address", f.options.Address, "err", err)
			lastErr = err.Error()
		}
		task.Sleep(ctx, retry.Next())
	}
}

// session is one connection and its stream; its end is an error.
func (f *Feed) session(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	config, err := f.trust(ctx)
	if err != nil {
		return err
	}
	token, err := readToken(f.options.TokenFile)
	if err != nil {
		return err
	}
	c, err := f.open(ctx, token, config, f.question())
	if err != nil {
		return err
	}
	defer c.close()
	for {
		var r xdsapi.DeltaDiscoveryResponse
		if err := c.receive(&r); err != nil {
			return err
		}
		_ = c.send(f.take(&r)) // why it can't be sent, receiving tells
	}
}

func (f *Feed) trust(ctx context.Context) (*tls.Config, error) {
	pem, err := f.options.Roots(ctx)
	if err != nil {
		return nil, fmt.Errorf("read CA of discovery: %w", err)
	}
	roots, err := pool(pem)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: f.host, MinVersion: tls.VersionTLS13}, nil
}

// question asks for everything but what is known already.
func (f *Feed) question() *xdsapi.DeltaDiscoveryRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &xdsapi.DeltaDiscoveryRequest{
		Node:                    &xdsapi.Node{Id: f.options.Node, UserAgentName: contract.NodeDaemonSet},
		TypeUrl:                 contract.TypeBalanced,
		ResourceNamesSubscribe:  []string{contract.Wildcard},
		InitialResourceVersions: f.table.versions(),
	}
}

// take applies a response, and returns the answer to it.
func (f *Feed) take(r *xdsapi.DeltaDiscoveryResponse) *xdsapi.DeltaDiscoveryRequest {
	f.options.Metrics.connected.Set(1)
	f.mu.Lock()
	err := f.table.apply(r)
	whole := f.table.whole
	f.mu.Unlock()
	if whole {
		f.tell()
	}
	answer := &xdsapi.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if err != nil {
		text := err.Error()
		f.options.Log.Warn("leave services to the proxy", "err", text[:min(len(text), maxDetail)])
		f.options.Metrics.refusals.Inc()
		answer.ErrorDetail = &xdsapi.Status{Code: invalidArgument, Message: strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")}
	}
	return answer
}

func readToken(file string) (string, error) {
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
