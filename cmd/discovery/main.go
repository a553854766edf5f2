// SPDX-License-Identifier: Apache-2.0

// Command discovery is Shunt's control plane. It tells proxies where the
// services are. Any number of replicas may run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/discovery/cluster"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("discovery", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o := cluster.Options{}
	fs.StringVar(&o.Listen, "listen", port(contract.PortDiscovery), "address for proxies: Delta ADS over TLS")
	fs.StringVar(&o.ListenHTTP, "listen-http", port(contract.PortControlHTTP), "address for /metrics and /ready")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "path of a kubeconfig (default: the pod's service account)")
	fs.StringVar(&o.Namespace, "namespace", contract.SystemNamespace, "namespace of Shunt: of the CA's Secret and of our Service")
	fs.StringVar(&o.ClusterDomain, "cluster-domain", contract.ClusterDomain, "DNS domain of the cluster")
	fs.IntVar(&o.MaxStreams, "max-streams", 20_000, "proxies that may be connected at a time")
	fs.DurationVar(&o.MaxConnectionAge, "max-connection-age", 30*time.Minute, "after this, +-10 %, a proxy connects anew, so that replicas share the load")
	level := fs.String("log-level", "info", "debug, info, warn or error")
	showVersion := fs.Bool("version", false, "print the version and exit")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *showVersion {
		fmt.Fprintln(stdout, version.Version)
		return 0
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "discovery: unexpected argument %q (see -h)\n", fs.Arg(0))
		return 2
	}
	var logLevel slog.Level
	if err := logLevel.UnmarshalText([]byte(*level)); err != nil {
		fmt.Fprintf(stderr, "discovery: log level %q is unknown (allowed: debug, info, warn, error)\n", *level)
		return 2
	}
	o.Log = slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: logLevel}))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends us at once
	if err := cluster.Run(ctx, o); err != nil {
		o.Log.Error("run discovery", "err", err)
		return 1
	}
	return 0
}

func port(n int) string { return net.JoinHostPort("", strconv.Itoa(n)) }
