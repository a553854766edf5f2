// SPDX-License-Identifier: Apache-2.0

// Command app is what runs in the pods of the end-to-end tests: a server that
// says which pod answered and whom it saw, and one client per protocol. Each
// client prints its result as one JSON line and exits 0 when it got one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("name a command: judge, serve, sleep, last, grpc, http, tcp, hold, watch, nats, etcd, load")
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "judge":
		return judgeWitnesses(ctx, rest)
	case "serve":
		return serve(ctx, rest)
	case "sleep":
		<-ctx.Done()
		return nil
	case "last":
		return last(ctx, rest)
	case "grpc":
		return callGRPC(ctx, rest)
	case "load":
		return load(ctx, rest)
	case "http":
		return getHTTP(ctx, rest)
	case "tcp":
		return callTCP(ctx, rest)
	case "hold":
		return hold(ctx, rest)
	case "watch":
		return watch(ctx, rest)
	case "nats":
		return callNATS(ctx, rest)
	case "etcd":
		return callEtcd(ctx, rest)
	default:
		return fmt.Errorf("unknown command %q", verb)
	}
}
