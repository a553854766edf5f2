// SPDX-License-Identifier: Apache-2.0

// Command webhook is the admission webhook that gives pods the proxy. It runs
// in any number of replicas.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
)

func main() {
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

// options is what the flags say.
type options struct {
	listen, controlListen string
	namespace, kubeconfig string
	image, pullPolicy     string
	discovery             string
	logLevel              slog.Level
	version               bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("webhook", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", contract.PortWebhook), "host:port of the webhook (HTTPS)")
	f.StringVar(&o.controlListen, "control-listen", fmt.Sprintf(":%d", contract.PortControlHTTP), "host:port of /metrics and /ready (HTTP)")
	f.StringVar(&o.namespace, "namespace", contract.SystemNamespace, "namespace of the control plane, where the CA's Secret is")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server (default: the pod's service account)")
	f.StringVar(&o.image, "image", "shunt.dev/dataplane:"+version.Version, "image of the injected containers")
	f.StringVar(&o.pullPolicy, "image-pull-policy", string(corev1.PullIfNotPresent), "of the injected containers: Always, IfNotPresent or Never")
	f.StringVar(&o.discovery, "discovery-address",
		fmt.Sprintf("%s.%s.svc:%d", contract.DiscoveryService, contract.SystemNamespace, contract.PortDiscovery),
		`host:port of discovery as the proxies reach it; "" makes them pass everything through`)
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}
