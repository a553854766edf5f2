// SPDX-License-Identifier: Apache-2.0

// Command sidecar is the product's proxy as it runs in a pod, but for two
// things: what a redirection would tell of a connection is fixed, and discovery
// may be a table of routes that never changes. So it needs no Kubernetes and no
// privileges.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/xds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	proxy     proxy.Options
	discovery xds.Options
	backends  []netip.AddrPort
	vips      []netip.AddrPort
	inbound   netip.AddrPort
	routes    int
	tls       tlsFiles
	profile   string
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	return profiled(s.profile, func() error { return serve(ctx, s) })
}

// serve ends when ctx does and all that it started has ended.
func serve(ctx context.Context, s *settings) (err error) {
	s.tls.apply(&s.proxy)
	s.proxy.Origin = newOrigin(s)
	if s.discovery.Address == "" {
		if s.proxy.Resolver, err = newTable(s.vips[0], s.backends, s.routes); err != nil {
			return err
		}
		return proxy.Run(ctx, s.proxy)
	}
	client, err := xds.NewClient(s.discovery)
	if err != nil {
		return fmt.Errorf("make discovery client: %w", err)
	}
	s.proxy.Resolver = client
	clientCtx, endClient := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(clientCtx) })
	err = proxy.Run(ctx, s.proxy)
	endClient()
	wg.Wait()
	return err
}

// parse begins with the options of a sidecar in the field.
func parse(args []string) (*settings, error) {
	s := &settings{proxy: proxy.DefaultOptions()}
	o := &s.proxy
	fs := flag.NewFlagSet("sidecar", flag.ExitOnError)
	fs.StringVar(&o.OutboundListen, "outbound-listen", "", "address")
	fs.StringVar(&o.InboundListen, "inbound-listen", "", "address")
	fs.StringVar(&o.AdminListen, "admin-listen", "", "address")
	fs.StringVar(&o.ReadyListen, "ready-listen", "", "address")
	fs.StringVar(&o.MetricsListen, "metrics-listen", "", "address")
	fs.IntVar(&s.routes, "routes", 100, "routes in the table of the service")
	fs.StringVar(&s.discovery.Address, "discovery-address", "", "discovery to ask, instead of a table")
	fs.StringVar(&s.discovery.TokenFile, "token-file", "", "token for discovery")
	ca := fs.String("discovery-ca", "", "file with the certificate of discovery's authority")
	backends := fs.String("backends", "", "endpoints of the service, separated by commas")
	vips := fs.String("vips", "192.0.2.1:80", "where connections were going, in turn")
	inbound := fs.String("application", "", "where inbound connections were going")
	fs.StringVar(&s.tls.cert, "tls-cert", "", "certificate that is shown")
	fs.StringVar(&s.tls.key, "tls-key", "", "its key")
	fs.StringVar(&s.tls.ca, "tls-ca", "", "authority that peers are verified with: mutual TLS")
	fs.StringVar(&s.profile, "profile", "", "file to write a CPU profile to")
	_ = fs.Parse(args)

	o.AdminSocket = ""
	o.DrainTimeout = 2 * time.Second
	o.PodIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.discovery.Log = o.Log
	var err error
	if s.backends, err = addresses(*backends); err != nil {
		return nil, err
	}
	if s.vips, err = addresses(*vips); err != nil {
		return nil, err
	}
	if *inbound != "" {
		if s.inbound, err = netip.ParseAddrPort(*inbound); err != nil {
			return nil, err
		}
	}
	if *ca != "" {
		if s.discovery.CAPEM, err = os.ReadFile(*ca); err != nil {
			return nil, fmt.Errorf("read authority of discovery: %w", err)
		}
	}
	return s, nil
}

func addresses(list string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, err
		}
		out = append(out, ap)
	}
	return out, nil
}
