// SPDX-License-Identifier: Apache-2.0

// Package discovery is the control plane: it watches the cluster and tells
// proxies, over Delta ADS, where the services that they ask for are. This
// package only joins its parts: kube (informers) -> model -> xds (resources
// and server), with auth in front.
package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/shuntmesh/shunt/discovery/auth"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/discovery/xds"
)

// Options say what Run needs. All fields without a default must be set.
type Options struct {
	Log *slog.Logger

	Listen     string // ADS over TLS, host:port
	ListenHTTP string // /metrics and /ready, host:port

	// Source makes what watches the cluster and feeds the sink.
	Source func(kube.Sink) Source
	// Reviewer judges the proxies' tokens.
	Reviewer auth.Reviewer
	// Certificate is what the server shows; see ca.Leaf.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	MaxStreams       int           // default 20,000
	MaxNames         int           // per stream and type; default 20,000
	MaxConnectionAge time.Duration // grpc adds 10 % of jitter; default 30 minutes
	// Collectors are registered beside discovery's own; there may be none.
	Collectors []prometheus.Collector
	// Listening is called with the addresses once proxies can connect; it
	// may be nil.
	Listening func(ads, http net.Addr)
}

// Source watches a cluster until ctx ends; Synced is closed when the sink has
// got all that was there at the start.
type Source interface {
	Run(ctx context.Context) error
	Synced() <-chan struct{}
}

func (o *Options) setDefaults() {
	if o.MaxStreams == 0 {
		o.MaxStreams = 20_000
	}
	if o.MaxNames == 0 {
		o.MaxNames = 20_000
	}
	if o.MaxConnectionAge == 0 {
		o.MaxConnectionAge = 30 * time.Minute
	}
	if o.Listening == nil {
		o.Listening = func(net.Addr, net.Addr) {}
	}
}

// Run serves until ctx ends, and joins all that it started. Proxies can't
// connect before the cluster was read: an answer "does not exist" that comes of
// not having looked yet would cut off a service that runs.
func Run(ctx context.Context, o Options) error {
	o.setDefaults()
	registry := prometheus.NewRegistry()
	metrics := newMetrics(registry)
	registry.MustRegister(o.Collectors...)
	store := xds.NewStore(o.MaxNames, metrics.xds)
	lp := newLoop(store, o.Log)
	source := o.Source(lp)

	var ready atomic.Bool
	httpServer, err := listenHTTP(ctx, o.ListenHTTP, registry, &ready)
	if err != nil {
		return err
	}
	synced := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return source.Run(ctx) })
	g.Go(func() error { return lp.run(ctx, source.Synced(), func() { close(synced) }) })
	g.Go(func() error { return httpServer.run(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-synced:
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
		if err != nil {
			return fmt.Errorf("listen for proxies: %w", err)
		}
		ready.Store(true)
		defer ready.Store(false)
		o.Log.Info("serve proxies", "address", ln.Addr().String())
		o.Listening(ln.Addr(), httpServer.listener.Addr())
		authenticator := auth.New(o.Reviewer, o.Log, metrics.authFailed)
		return serve(ctx, ln, o, xds.NewServer(ctx, store, o.MaxStreams, o.Log), authenticator)
	})
	return g.Wait()
}

// Limits of one connection.
const (
	graceAfterAge  = 10 * time.Second
	maxRequest     = 4 << 20 // bytes; 20,000 names with their versions are 3 MiB
	handshakeLimit = 10 * time.Second
	bufferSize     = 8 << 10 // grpc's default of 32 KiB twice is most of an idle stream's memory
	stopLimit      = 5 * time.Second
)

func serve(ctx context.Context, ln net.Listener, o Options, ads discoveryv3.AggregatedDiscoveryServiceServer, a *auth.Authenticator) error {
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			GetCertificate: o.Certificate,
			MinVersion:     tls.VersionTLS13,
			NextProtos:     []string{"h2"},
		})),
		grpc.StreamInterceptor(a.Stream),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(8), // a proxy needs one
		grpc.ConnectionTimeout(handshakeLimit),
		grpc.ReadBufferSize(bufferSize),
		grpc.WriteBufferSize(bufferSize),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      o.MaxConnectionAge,
			MaxConnectionAgeGrace: graceAfterAge,
			Time:                  30 * time.Second,
			Timeout:               10 * time.Second,
		}),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, ads)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve proxies: %w", err)
	case <-ctx.Done():
	}
	stop(server)
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve proxies: %w", err)
	}
	return nil
}

// stop lets streams end; they do so by themselves with the context that
// xds.NewServer was given. A peer that does not go is cut off.
func stop(server *grpc.Server) {
	hurry := time.AfterFunc(stopLimit, server.Stop)
	defer hurry.Stop()
	server.GracefulStop()
}

// httpServer serves people, kubelet and Prometheus.
type httpServer struct {
	server   *http.Server
	listener net.Listener
}

func listenHTTP(ctx context.Context, address string, registry *prometheus.Registry, ready *atomic.Bool) (*httpServer, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics and readiness: %w", err)
	}
	return &httpServer{listener: ln, server: newHTTPServer(registry, ready)}, nil
}

func (h *httpServer) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(h.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
		err := h.server.Close()
		_ = <-served
		return err
	}
}
