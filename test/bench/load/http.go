// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Probe sends one message and looks at every byte of the answer: a target that
// is fast at something else is no peer.
func Probe(ctx context.Context, aim Aim, p scenario.Protocol, payload int) error {
	client, end := newClient(p, aim.TLS)
	defer end()
	return probe(ctx, client, aim, p, payload)
}

func probe(ctx context.Context, client *http.Client, aim Aim, p scenario.Protocol, payload int) error {
	if p == scenario.TCP {
		_, err := PingPong(ctx, aim, scenario.Load{Requests: 1, Payload: payload})
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	method, body := http.MethodGet, []byte(nil)
	if p == scenario.GRPC {
		method, body = http.MethodPost, Message(payload)
	}
	req, err := http.NewRequestWithContext(ctx, method, aim.URL(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Host = Authority
	if p == scenario.GRPC {
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.Header.Set("Grpc-Timeout", Timeout)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("probe: read answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("probe: status %s: %.200s %v", resp.Status, got, resp.Header)
	case p == scenario.GRPC && (resp.Trailer.Get("Grpc-Status") != "0" || !bytes.Equal(got, body)):
		return fmt.Errorf("probe: grpc-status %q and %d bytes, want 0 and the %d that were sent", resp.Trailer.Get("Grpc-Status"), len(got), len(body))
	case p == scenario.HTTP1 && len(got) != payload:
		return fmt.Errorf("probe: %d bytes, want %d", len(got), payload)
	}
	return nil
}

// Touch makes one request on a connection of its own, and takes any answer.
func Touch(ctx context.Context, aim Aim) error {
	client, end := newClient(scenario.HTTP1, false)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, aim.URL(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("touch: %w", err)
	}
	return resp.Body.Close()
}

func newClient(p scenario.Protocol, secure bool) (client *http.Client, end func()) {
	var protocols http.Protocols
	switch {
	case p == scenario.HTTP1:
		protocols.SetHTTP1(true)
	case secure:
		protocols.SetHTTP2(true)
	default:
		protocols.SetUnencryptedHTTP2(true)
	}
	t := &http.Transport{
		Protocols: &protocols,
		// Certificates are made for the run; who shows them is not the question here.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
	}
	return &http.Client{Transport: t}, t.CloseIdleConnections
}

// Hold opens n connections, sends one message over each, and keeps them open
// until close is called.
func Hold(ctx context.Context, aim Aim, p scenario.Protocol, payload, n int) (closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, c := range closers {
			c()
		}
	}
	for i := range n {
		c, err := holdOne(ctx, aim, p, payload)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("open idle connection %d: %w", i+1, err)
		}
		closers = append(closers, c)
	}
	return closeAll, nil
}

func holdOne(ctx context.Context, aim Aim, p scenario.Protocol, payload int) (func(), error) {
	if p != scenario.TCP {
		client, end := newClient(p, aim.TLS)
		if err := probe(ctx, client, aim, p, payload); err != nil {
			end()
			return nil, err
		}
		return end, nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", aim.Address.String())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		c.SetDeadline(time.Now().Add(10*time.Second)),
		exchange(c, Message(payload)[5:], make([]byte, payload)),
		c.SetDeadline(time.Time{}),
	); err != nil {
		_ = c.Close()
		return nil, err
	}
	return func() { _ = c.Close() }, nil
}
