// SPDX-License-Identifier: Apache-2.0

// Command shuntctl installs Shunt into a Kubernetes cluster and removes it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/shuntmesh/shunt/shuntctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := shuntctl.Run(ctx, os.Args[1:], shuntctl.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
