// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
)

// waitInterval is how often wait asks. It is what it may add to a pod's start.
const waitInterval = 50 * time.Millisecond

// wait returns when the running proxy is ready. As a postStart hook it holds the
// containers behind the proxy, where it is no native sidecar.
func (w world) wait(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("wait", flag.ContinueOnError)
	address := fs.String("ready-address", net.JoinHostPort("127.0.0.1", strconv.Itoa(contract.PortReady)), "host:port of the running proxy's /ready")
	timeout := fs.Duration("timeout", time.Minute, "give up after this time")
	if err := w.parse(fs, args); err != nil {
		return err
	}
	if *timeout <= 0 {
		return usageError{fmt.Errorf("flag timeout: %v (allowed: more than 0, such as 1m)", *timeout)}
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	url := "http://" + *address + "/ready"
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	last := errors.New("it was not asked")
	for {
		err := askReady(ctx, url)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // that of an ended context says nothing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not ready after %v: %w (the log of the proxy says why)", url, *timeout, last)
		case <-ticker.C:
		}
	}
}

func askReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", response.Status)
	}
	return err
}

// linger waits for d. As the end of a preStop hook it keeps the proxy serving
// while the application, which was told to stop at the same time, still calls
// others.
func linger(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
