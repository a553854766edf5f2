// SPDX-License-Identifier: Apache-2.0

// Command proxy is the sidecar: `proxy run` serves, the other subcommands ask
// the one that runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const usage = `Usage: proxy <command> [flags]

Commands:
  run          balance what the pod sends and hand in what it gets
  drain        tell clients to reconnect elsewhere; returns at once (preStop)
  wait         return when the running proxy is ready (postStart)
  config-dump  print what is known of destinations and endpoints, as JSON
  stats        print the metrics
  version      print the version

"proxy <command> -h" lists the flags of a command.
`

// world is what a command may use of the process.
type world struct {
	env    func(string) string
	stdout io.Writer
	stderr io.Writer
}

func main() {
	w := world{env: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(w.main(context.Background(), os.Args[1:]))
}

// main returns the exit status: 2 for a command line that can't be read.
func (w world) main(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(w.stderr, usage)
		return 2
	}
	err := w.command(ctx, args[0], args[1:])
	var bad usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &bad):
		fmt.Fprintf(w.stderr, "proxy %s: %v\n", args[0], err)
		return 2
	default:
		fmt.Fprintf(w.stderr, "proxy %s: %v\n", args[0], err)
		return 1
	}
}

func (w world) command(ctx context.Context, name string, args []string) error {
	switch name {
	case "run":
		return w.run(ctx, args)
	case "drain", "config-dump", "stats":
		return w.ask(ctx, name, args)
	case "wait":
		return w.wait(ctx, args)
	case "version":
		return w.version(args)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(w.stdout, usage)
		return nil
	default:
		return usageError{fmt.Errorf("no such command (allowed: run, drain, wait, config-dump, stats, version)")}
	}
}
