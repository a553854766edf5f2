// SPDX-License-Identifier: Apache-2.0

// Command gateway is the peers that one would write in Go: a transparent gRPC
// proxy by grpc-go's UnknownServiceHandler, and net/http's ReverseProxy. They do
// nothing but pass requests on to one backend.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("gateway", flag.ExitOnError)
	kind := fs.String("kind", "", "grpc (grpc-go), h2 or h1 (ReverseProxy)")
	listen := fs.String("listen", "", "address")
	backend := fs.String("backend", "", "address")
	_ = fs.Parse(args)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	switch *kind {
	case "grpc":
		return proxyGRPC(ctx, l, *backend)
	case "h2", "h1":
		return proxyHTTP(ctx, l, *backend, *kind == "h2")
	default:
		return fmt.Errorf("kind %q (allowed: grpc, h2, h1)", *kind)
	}
}
