// SPDX-License-Identifier: Apache-2.0

// Package client is the demo's gRPC client: an ordinary application that keeps
// one connection for its whole life (pick_first, default keepalive) and counts
// who answers.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// Options say whom to call and how fast.
type Options struct {
	Target  string        // of grpc.NewClient
	Callers int           // calls in flight at most
	Rate    float64       // calls a second of all callers together; 0 is as fast as answers come
	Timeout time.Duration // of one call
	Out     io.Writer     // gets a tally.Line every tally.Step
}

// Run calls until ctx is done, which is no error. It waits until the first call
// is answered before it counts.
func Run(ctx context.Context, o Options) error {
	var dials atomic.Int64
	conn, err := grpc.NewClient(o.Target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				dials.Add(1)
			}
			return c, err
		}))
	if err != nil {
		return fmt.Errorf("make client for %s: %w", o.Target, err)
	}
	defer func() { _ = conn.Close() }() // nothing is in flight any more
	stub := testpb.NewTestServiceClient(conn)
	if err := waitForAnswer(ctx, stub); err != nil {
		return err
	}
	r := &recorder{dials: &dials}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range o.Callers {
		wg.Go(func() { callForever(ctx, stub, o, r) })
	}
	return writeLines(ctx, o.Out, r)
}

// waitForAnswer tries until a server answers: there may be none yet.
func waitForAnswer(ctx context.Context, stub testpb.TestServiceClient) error {
	for {
		callCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := stub.UnaryCall(callCtx, request(), grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a server: %w (last answer: %w)", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func request() *testpb.SimpleRequest { return &testpb.SimpleRequest{FillServerId: true} }

// maxLag is how far behind its schedule a caller tries to catch up: after a
// pause of everything, a burst would tell nothing.
const maxLag = 50 * time.Millisecond

func callForever(ctx context.Context, stub testpb.TestServiceClient, o Options, r *recorder) {
	var period time.Duration
	if o.Rate > 0 {
		period = time.Duration(float64(time.Second) * float64(o.Callers) / o.Rate)
	}
	for next := time.Now(); ctx.Err() == nil; next = next.Add(period) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait) // at most one period, milliseconds
		} else if wait < -maxLag {
			next = time.Now()
		}
		start := time.Now()
		// Not below ctx: a call that is cut by our own end would count as failed.
		callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
		answer, err := stub.UnaryCall(callCtx, request())
		cancel()
		if err != nil {
			r.failed(start, err)
			continue
		}
		r.answered(answer.GetServerId())
	}
}

// recorder collects what the next line tells.
type recorder struct {
	dials *atomic.Int64

	mu   sync.Mutex
	line tally.Line
	seq  int
}

func (r *recorder) answered(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line.Calls == nil {
		r.line.Calls = map[string]int{}
	}
	r.line.Calls[server]++
}

func (r *recorder) failed(start time.Time, err error) {
	s, end := status.Convert(err), time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.line.Failed) >= tally.MaxFailures {
		r.line.FailedMore++
		return
	}
	r.line.Failed = append(r.line.Failed, tally.Failure{Start: start, End: end, Code: s.Code().String(), Message: s.Message()})
}

// take returns the line up to now and begins the next.
func (r *recorder) take(now time.Time) tally.Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	l := r.line
	l.Seq, l.End, l.Connections = r.seq, now, int(r.dials.Load())
	r.line = tally.Line{}
	return l
}

func writeLines(ctx context.Context, out io.Writer, r *recorder) error {
	ticker := time.NewTicker(tally.Step)
	defer ticker.Stop()
	enc := json.NewEncoder(out)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := enc.Encode(r.take(time.Now())); err != nil {
				return fmt.Errorf("write line: %w", err)
			}
		}
	}
}
