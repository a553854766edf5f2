// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// settings are the flags of run.
type settings struct {
	proxy            proxy.Options
	discovery        xds.Options
	pod, ns, node    string
	podIPs, logLevel string
	discoveryCA      string
}

// run serves until SIGTERM or SIGINT, then drains; a second signal ends the
// process at once.
func (w world) run(ctx context.Context, args []string) error {
	s, err := w.settings(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	if s.discovery.Address == "" {
		return proxy.Run(ctx, s.proxy)
	}
	client, err := xds.NewClient(s.discovery)
	if err != nil {
		return fmt.Errorf("make discovery client: %w", err)
	}
	s.proxy.Resolver = client
	clientCtx, endClient := context.WithCancel(context.WithoutCancel(ctx)) // it serves the drain too
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := client.Run(clientCtx); err != nil && clientCtx.Err() == nil {
			s.proxy.Log.Error("discovery client has ended; what is known stays", "error", err)
		}
	})
	err = proxy.Run(ctx, s.proxy)
	endClient()
	wg.Wait()
	return err
}

// settings reads the flags; their defaults come from the environment where the
// downward API fills it.
func (w world) settings(args []string) (*settings, error) {
	s := &settings{proxy: proxy.DefaultOptions()}
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.StringVar(&s.discovery.Address, "discovery-address", "", "host:port of discovery; empty passes everything through")
	fs.StringVar(&s.discoveryCA, "discovery-ca", "", "PEM certificates that discovery is verified with (default $"+contract.EnvDiscoveryCA+")")
	fs.StringVar(&s.discovery.TokenFile, "token-file", contract.TokenFile, "token that discovery is shown; read anew when it changes")
	fs.StringVar(&s.pod, "pod-name", "", "name of the pod (default $POD_NAME)")
	fs.StringVar(&s.ns, "namespace", "", "namespace of the pod (default $POD_NAMESPACE)")
	fs.StringVar(&s.node, "node", "", "node of the pod (default $NODE_NAME)")
	fs.StringVar(&s.podIPs, "pod-ips", "", "comma-separated addresses that inbound serves (default $POD_IPS, or those of the interfaces)")
	fs.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	o := &s.proxy
	fs.StringVar(&o.OutboundListen, "outbound-listen", o.OutboundListen, "address for redirected outbound connections")
	fs.StringVar(&o.InboundListen, "inbound-listen", o.InboundListen, "address for redirected inbound connections")
	fs.StringVar(&o.AdminListen, "admin-listen", o.AdminListen, "loopback address of the read-only admin pages")
	fs.StringVar(&o.ReadyListen, "ready-listen", o.ReadyListen, "address of /ready")
	fs.StringVar(&o.MetricsListen, "metrics-listen", o.MetricsListen, "address of /metrics")
	fs.StringVar(&o.MergedListen, "merged-metrics-listen", o.MergedListen, "address of "+contract.PathMergedMetrics+", with the application's metrics among the proxy's own; empty is none")
	fs.Func("app-metrics", "port and path of the application's metrics on loopback, such as 8080/metrics", func(text string) (err error) {
		o.AppMetrics, err = contract.ParseScrape(text)
		return err
	})
	fs.StringVar(&o.AdminSocket, "admin-socket", o.AdminSocket, "unix socket for commands; empty is none")
	tlsFlags(fs, &o.TLS)
	limitFlags(fs, o)
	numberFlags(fs, o)
	if err := w.parse(fs, args); err != nil {
		return nil, err
	}
	return s, s.complete(w)
}

func tlsFlags(fs *flag.FlagSet, t *proxy.TLS) {
	fs.StringVar(&t.Files.Certificate, "tls-certificate", "", "PEM file of the certificate chain; read anew when it changes, as the two that follow")
	fs.StringVar(&t.Files.Key, "tls-key", "", "PEM file of its private key")
	fs.StringVar(&t.Files.CA, "tls-ca", "", "PEM file of the CAs that peers are verified with")
	fs.StringVar((*string)(&t.Inbound), "inbound-tls", string(t.Inbound), "end TLS of inbound HTTP: off (it is the application's), permissive, or strict (plaintext is refused)")
	fs.StringVar(&t.OutboundServerName, "outbound-tls-server-name", "", "speak TLS to endpoints of services, whose certificates must be for this name; empty is plaintext")
	fs.Func("inbound-tls-clients", "certificates of inbound clients: none, optional or required (default none)", func(text string) error {
		switch text {
		case "none":
			t.Clients = transport.NoClientCertificate
		case "optional":
			t.Clients = transport.OptionalClientCertificate
		case "required":
			t.Clients = transport.RequiredClientCertificate
		default:
			return fmt.Errorf("%q is no such choice (allowed: none, optional, required)", text)
		}
		return nil
	})
}

func limitFlags(fs *flag.FlagSet, o *proxy.Options) {
	for _, l := range o.Limits() {
		fs.Var(l.Value, l.Flag(), l.What)
	}
}

func numberFlags(fs *flag.FlagSet, o *proxy.Options) {
	for _, n := range []struct {
		value       func(int64)
		now         int64
		name, usage string
	}{
		{func(v int64) { o.Concurrency = int(v) }, int64(o.Concurrency), "concurrency", "the most workers of the data path: one is at work until it is busy, then the next takes new connections"},
		{func(v int64) { o.MemoryLimit = v }, o.MemoryLimit, "memory-limit-bytes", "soft limit of the heap; 0 is none"},
		{func(v int64) { o.GCPercent = int(v) }, int64(o.GCPercent), "gc-percent", "growth of the heap between collections; 0 leaves Go's"},
	} {
		fs.Func(n.name, fmt.Sprintf("%s (default %d)", n.usage, n.now), func(text string) error {
			v, err := strconv.ParseInt(text, 10, 32)
			if err != nil || v < 0 {
				return fmt.Errorf("%q is no such number (allowed: 0 to 2147483647)", text)
			}
			n.value(v)
			return nil
		})
	}
}

// complete fills in from the environment and parses what flag does not.
func (s *settings) complete(w world) error {
	for _, f := range []struct {
		value *string
		env   string
	}{
		{&s.pod, "POD_NAME"},
		{&s.ns, "POD_NAMESPACE"},
		{&s.node, "NODE_NAME"},
		{&s.podIPs, "POD_IPS"},
		{&s.discoveryCA, contract.EnvDiscoveryCA},
	} {
		if *f.value == "" {
			*f.value = w.env(f.env)
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return usageError{fmt.Errorf("flag log-level: %q is no level (allowed: debug, info, warn, error)", s.logLevel)}
	}
	s.proxy.Log = slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: level}))
	for text := range strings.SplitSeq(s.podIPs, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return usageError{fmt.Errorf("flag pod-ips: %q is no IP address (allowed: addresses separated by commas, such as 10.0.0.7,fd00::7)", text)}
		}
		s.proxy.PodIPs = append(s.proxy.PodIPs, ip.Unmap())
	}
	s.discovery.CAPEM = []byte(s.discoveryCA)
	s.discovery.NodeID = s.ns + "/" + s.pod + "@" + s.node
	s.discovery.Log = s.proxy.Log
	return nil
}
