// SPDX-License-Identifier: Apache-2.0

// Command backend answers the load: gRPC echo of raw bytes, HTTP/1.1 of a fixed
// size, or TCP echo, on one address or several. GET on the -counts address
// tells how many requests each address has answered.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

// server answers on one listener until its ctx ends, and counts.
type server func(ctx context.Context, l net.Listener, count func(), payload int) error

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("backend", flag.ExitOnError)
	protocol := fs.String("protocol", "grpc", "grpc, http1 or tcp")
	listen := fs.String("listen", "", "addresses, separated by commas")
	counts := fs.String("counts", "", "address that tells the counts")
	payload := fs.Int("payload", 100, "bytes of an HTTP/1.1 answer")
	_ = fs.Parse(args)
	serve, ok := map[string]server{"grpc": serveGRPC, "http1": serveHTTP1, "tcp": serveTCP}[*protocol]
	if !ok {
		return fmt.Errorf("protocol %q is not served (allowed: grpc, http1, tcp)", *protocol)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	answered := map[string]*atomic.Int64{}
	for address := range strings.SplitSeq(*listen, ",") {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			cancel(nil)
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		n := new(atomic.Int64)
		answered[address] = n
		wg.Go(func() {
			if err := serve(ctx, l, func() { n.Add(1) }, *payload); err != nil {
				cancel(fmt.Errorf("serve on %s: %w", address, err))
			}
		})
	}
	if err := tell(ctx, *counts, answered); err != nil {
		cancel(err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tell serves the counts until ctx ends.
func tell(ctx context.Context, address string, answered map[string]*atomic.Int64) error {
	s := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := map[string]int64{}
		for a, n := range answered {
			out[a] = n.Load()
		}
		_ = json.NewEncoder(w).Encode(out)
	})}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve counts: %w", err)
	}
	return nil
}
