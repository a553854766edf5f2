// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a real Kubernetes cluster of several nodes on this machine; see the README beside it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/shuntmesh/shunt/test/cluster/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
