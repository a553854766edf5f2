// SPDX-License-Identifier: Apache-2.0

// Command webhook is the admission webhook that gives pods the proxy. It runs
// in any number of replicas.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/shuntmesh/shunt/internal/version"
)

// gcPercent lets the heap grow by a quarter between collections, not by all of it. A
// review leaves some 100 KiB of garbage behind and a collection takes a
// millisecond, so this costs nothing that is seen, and saves 3 MiB.
const gcPercent = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil && o.version:
		fmt.Fprintln(os.Stdout, version.Version)
		return
	case err == nil:
		log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: o.logLevel}))
		err = run(ctx, o, log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}
