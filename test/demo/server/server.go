// SPDX-License-Identifier: Apache-2.0

// Package server is the demo's gRPC server: an ordinary application that knows
// nothing of the mesh. It answers each call with its own name.
package server

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
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// Options say how to serve.
type Options struct {
	Listener net.Listener // closed by Run
	Name     string       // answered to every call: the pod's name
	// Exit, when set, ends the process as soon as the context is done, with
	// calls in flight; nil stops gracefully, as a well-made server does.
	Exit func()
	Log  io.Writer // gets a tally.Exit before Exit
}

// Run serves until ctx is done.
func Run(ctx context.Context, o Options) error {
	var inFlight atomic.Int64
	srv := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		inFlight.Add(1)
		defer inFlight.Add(-1)
		return next(ctx, req)
	}))
	testpb.RegisterTestServiceServer(srv, &answerer{name: o.Name})
	ready := health.NewServer() // serving from the start; the kubelet's gRPC probe asks it
	healthpb.RegisterHealthServer(srv, ready)

	var wg sync.WaitGroup
	defer wg.Wait()
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		<-serving.Done()
		if o.Exit != nil && ctx.Err() != nil {
			// The last words before the process is gone; who can't read them
			// misses them.
			_ = json.NewEncoder(o.Log).Encode(tally.Exit{Server: o.Name, At: time.Now(), InFlight: inFlight.Load()})
			o.Exit()
		}
		srv.GracefulStop()
	})
	if err := srv.Serve(o.Listener); err != nil {
		return fmt.Errorf("serve on %s: %w", o.Listener.Addr(), err)
	}
	return nil
}

type answerer struct {
	testpb.UnimplementedTestServiceServer
	name string
}

// UnaryCall answers with the server's name.
func (a *answerer) UnaryCall(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{ServerId: a.name, Hostname: a.name}, nil
}
