// SPDX-License-Identifier: Apache-2.0

// Command demo shows what Shunt does: demo server and demo client are the
// application, demo run plays the scenario on a cluster, demo image packs this
// very binary into the application's image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: demo COMMAND [flags]

  server   answer gRPC calls with the pod's name
  client   call over one connection, and tell who answers
  run      play the demo on a cluster that has Shunt
  down     remove the demo's namespaces from a cluster
  image    pack this binary into an image, as a tarball or in a registry

demo COMMAND -h lists a command's flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("no command named\n%s", usage)
	}
	switch args[0] {
	case "server":
		return runServer(ctx, args[1:], out)
	case "client":
		return runClient(ctx, args[1:], out)
	case "run":
		return runScenario(ctx, args[1:], out)
	case "down":
		return runDown(ctx, args[1:])
	case "image":
		return runImage(ctx, args[1:], out)
	case "-h", "--help", "help":
		fmt.Fprint(out, usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}
