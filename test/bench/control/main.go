// SPDX-License-Identifier: Apache-2.0

// Command control is the product's discovery, with services that are made up
// instead of a cluster's: the model, the resources, the ADS server, TLS and the
// check of tokens are the real ones.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/internal/ca"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "control:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("control", flag.ExitOnError)
	listen := fs.String("listen", "", "address of ADS")
	listenHTTP := fs.String("listen-http", "", "address of the metrics")
	caFile := fs.String("ca", "", "file that gets the authority's certificate")
	world := &world{synced: make(chan struct{})}
	fs.IntVar(&world.services, "services", 1, "services 10.96.0.0:80 and on")
	fs.IntVar(&world.perService, "endpoints", 0, "endpoints of each that refuse connections: 127.1.0.0:9 and on")
	backends := fs.String("backends", "", "endpoints of the first service instead, separated by commas")
	fs.IntVar(&world.changes, "changes", 0, "changes of the first service's endpoints per second")
	_ = fs.Parse(args)
	for text := range strings.SplitSeq(*backends, ",") {
		if text == "" {
			continue
		}
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return err
		}
		world.backends = append(world.backends, ap)
	}
	authority, err := ca.New(time.Now())
	if err != nil {
		return err
	}
	leaf, err := ca.NewLeaf(authority, time.Hour, "localhost")
	if err != nil {
		return err
	}
	return discovery.Run(ctx, discovery.Options{
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Listen:      *listen,
		ListenHTTP:  *listenHTTP,
		Source:      func(sink kube.Sink) discovery.Source { world.Sink = sink; return world },
		Reviewer:    anyone{},
		Certificate: leaf.GetCertificate,
		// Written once proxies can connect, so that it tells who waits for it.
		Listening: func(net.Addr, net.Addr) {
			if err := os.WriteFile(*caFile, authority.CertPEM(), 0o600); err != nil {
				fmt.Fprintln(os.Stderr, "control:", err)
			}
		},
	})
}

// anyone lets every proxy in.
type anyone struct{}

// Review implements auth.Reviewer.
func (anyone) Review(context.Context, string) (string, error) { return "bench", nil }
