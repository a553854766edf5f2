// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// callGRPC makes -n calls over ONE connection and prints how many each pod got.
func callGRPC(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	calls := flags.Int("n", 300, "calls")
	delay := flags.Duration("preface-delay", 0, "wait before the first byte of the connection")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, conn, err := dialGRPC(flags.Arg(0), *delay)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	pods := map[string]int{}
	for i := range *calls {
		reply, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
		pods[reply.ServerId]++
	}
	return json.NewEncoder(os.Stdout).Encode(pods)
}

// window is one line of load's output.
type window struct {
	At     time.Time      `json:"at"`
	Calls  map[string]int `json:"calls,omitempty"`  // by pod
	Errors map[string]int `json:"errors,omitempty"` // by error
}

// load calls at a fixed rate for a fixed time over one connection, and prints
// one window a 100 ms.
func load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	rate := flags.Int("rate", 500, "calls a second")
	length := flags.Duration("for", 60*time.Second, "length of the run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, conn, err := dialGRPC(flags.Arg(0), 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, *length)
	defer cancel()
	var (
		mu      sync.Mutex
		current = window{Calls: map[string]int{}, Errors: map[string]int{}}
		wg      sync.WaitGroup
		slots   = make(chan struct{}, 1000) // bound on calls in flight
	)
	call := func() {
		defer func() { <-slots }()
		callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		reply, err := client.UnaryCall(callCtx, &testgrpc.SimpleRequest{})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			current.Errors[err.Error()]++
			return
		}
		current.Calls[reply.ServerId]++
	}
	tick := time.NewTicker(time.Second / time.Duration(*rate))
	defer tick.Stop()
	report := time.NewTicker(100 * time.Millisecond)
	defer report.Stop()
	flush := func() error {
		mu.Lock()
		done := current
		current = window{Calls: map[string]int{}, Errors: map[string]int{}}
		mu.Unlock()
		done.At = time.Now()
		return json.NewEncoder(os.Stdout).Encode(done)
	}
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return flush()
		case <-report.C:
			if err := flush(); err != nil {
				return err
			}
		case <-tick.C:
			slots <- struct{}{}
			wg.Go(call)
		}
	}
}

func dialGRPC(target string, delay time.Duration) (testgrpc.TestServiceClient, *grpc.ClientConn, error) {
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &lateConn{Conn: conn, delay: delay}, nil
	}
	// gRPC waits a second before it dials anew after a refusal. The tests ask for
	// how long new calls fail, so this client tries again every 50 ms.
	eager := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: 50 * time.Millisecond}, MinConnectTimeout: 20 * time.Second}
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial), grpc.WithConnectParams(eager))
	if err != nil {
		return nil, nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return testgrpc.NewTestServiceClient(conn), conn, nil
}

// lateConn waits before its first write.
type lateConn struct {
	net.Conn
	delay time.Duration
	once  sync.Once
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.once.Do(func() { time.Sleep(c.delay) })
	return c.Conn.Write(p)
}
