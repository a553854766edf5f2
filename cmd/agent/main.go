// SPDX-License-Identifier: Apache-2.0

// Command agent is the node agent: it keeps the CNI plugin in place on its node,
// and captures pods that were started without it.
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

// gcPercent lets the heap grow by a quarter between collections, not by all of
// it: the agent has little to do, and is on every node.
const gcPercent = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Getenv, os.Stderr)
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
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}
