// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Handshakes has h2load make calls at a rate, over one connection, and opens all
// of l.Connections at once when half of the calls are through. What is told of
// answers is of the calls; Burst is how long the handshakes took together.
func Handshakes(ctx context.Context, tool Tool, aim Aim, l scenario.Load, dir string) (Outcome, error) {
	steady := l
	steady.Connections, steady.Streams = 1, 100
	half := time.Duration(float64(l.Requests) / float64(l.Rate) / 2 * float64(time.Second))
	var burst time.Duration
	var burstErr error
	var beside sync.WaitGroup
	beside.Go(func() {
		select {
		case <-ctx.Done():
			burstErr = context.Cause(ctx)
		case <-time.After(half):
			burst, burstErr = shake(ctx, aim, l.Connections)
		}
	})
	o, err := H2Load(ctx, tool, aim, steady, dir)
	beside.Wait()
	o.Burst = burst
	return o, errors.Join(err, burstErr)
}

// shake opens n connections at once, shakes hands on each, and closes them when
// all are done.
func shake(ctx context.Context, aim Aim, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	errs := make(chan error, n)
	all := make(chan struct{})
	config := &tls.Config{
		InsecureSkipVerify: true, // who shows the run's certificate is not the question here
		MinVersion:         tls.VersionTLS13, NextProtos: []string{"h2"},
	}
	begin := time.Now()
	var open sync.WaitGroup
	for range n {
		open.Go(func() {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", aim.Address.String())
			if err != nil {
				errs <- err
				return
			}
			defer func() { _ = c.Close() }()
			errs <- tls.Client(c, config).HandshakeContext(ctx)
			<-all
		})
	}
	var failed []error
	for range n {
		failed = append(failed, <-errs)
	}
	took := time.Since(begin)
	close(all)
	open.Wait()
	if err := errors.Join(failed...); err != nil {
		return 0, fmt.Errorf("shake hands %d times: %w", n, err)
	}
	return took, nil
}
