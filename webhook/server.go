// SPDX-License-Identifier: Apache-2.0

// Package webhook is the admission webhook: AdmissionReview in and out over
// HTTPS, metrics and readiness over HTTP. It may listen, and it talks to nobody:
// what becomes of a pod is decided by webhook/inject, and what needs the API
// server (the certificate, the caBundle) is handed in by webhook/operate.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// Where reviews are posted to. The API server and our cache learn of a
// namespace's label each in its own time; what is posted to NamespacePath comes
// from the registration's entry for labelled namespaces, so the label is there
// even when the cache does not show it yet.
const (
	Path          = "/inject"
	NamespacePath = "/inject/namespace"
)

// shutdownTimeout is how long reviews under way may take to end: the API
// server gives up on any of them after 5 s.
const shutdownTimeout = 6 * time.Second

// maxConnections bounds each listener. An API server keeps a few connections
// open and sends its reviews as streams of them; this is for some hundred.
const maxConnections = 1024

// An API server sends its reviews as streams of one connection, and maxInFlight
// of them are read at a time. A connection takes what all its streams may send
// unread, 3.75 MiB: otherwise those that wait would fill it, and those that are
// being read would get nothing more. The API server opens another connection
// for the streams beyond.
const (
	maxStreams   = 60
	streamWindow = 64 << 10 // bytes; a client sends as much before it hears of less (RFC 9113 section 6.9.2)
)

// Options is what a Server is made of. All fields are needed.
type Options struct {
	Listen        string // host:port of HTTPS
	ControlListen string // host:port of /metrics and /ready

	// Certificate serves TLS. It may fail until there is a certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready says why the server should not be called yet, or nil.
	Ready func() error
	// Inject returns what to inject by; it is called for each review.
	Inject func() inject.Options
	// Linger is how long reviews are taken after the end: /ready says no at
	// once, but the API server goes on sending until it has heard that this
	// replica is no endpoint any more. Each answer then ends its connection, so
	// that none is in use when all are closed. A preStop hook that sleeps (from
	// Kubernetes 1.30 on) would do the first, and not the second.
	Linger time.Duration
	// Namespace returns the namespace of a pod. With a warm cache it asks
	// nobody. An error refuses the pod.
	Namespace func(ctx context.Context, name string) (inject.Namespace, error)
	// Reviewed hears of each answer that was given. It must not block.
	Reviewed func(Answer)
	// Collectors are metrics of others, to be served beside the server's own.
	Collectors []prometheus.Collector
	// Control is served by the control listener, by pattern of http.ServeMux.
	Control map[string]http.Handler

	Log *slog.Logger
}

// Server answers the API server until its context ends.
type Server struct {
	options  Options
	metrics  *metrics
	webhook  net.Listener
	control  net.Listener
	draining chan struct{} // closed when the shutdown begins
}

// NewServer opens the listeners; Run serves and closes them.
func NewServer(o Options) (*Server, error) {
	s := &Server{options: o, draining: make(chan struct{})}
	s.metrics = newMetrics(s.certificateExpiry, o.Collectors)
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for reviews: %w", err)
	}
	s.webhook = tls.NewListener(netutil.LimitListener(ln, maxConnections), &tls.Config{
		MinVersion:     tls.VersionTLS13, // every API server of the last years speaks it
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: o.Certificate,
	})
	ln, err = net.Listen("tcp", o.ControlListen)
	if err != nil {
		_ = s.webhook.Close()
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	s.control = netutil.LimitListener(ln, maxConnections)
	return s, nil
}

// Addr is the address of the webhook's listener.
func (s *Server) Addr() net.Addr { return s.webhook.Addr() }

// ControlAddr is the address of the listener of /metrics and /ready.
func (s *Server) ControlAddr() net.Addr { return s.control.Addr() }

// Run serves until Linger after ctx has ended, lets the reviews under way end,
// and returns when all is closed. The error is why it could not serve, nil when ctx ended it.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	h := newHandler(s.options, s.metrics, s.draining)
	mux.Handle(Path, h)
	mux.Handle(NamespacePath, h)
	control := http.NewServeMux()
	control.Handle("GET /metrics", s.metrics.handler())
	control.HandleFunc("GET /ready", s.ready)
	for pattern, h := range s.options.Control {
		control.Handle(pattern, h)
	}
	servers := []*http.Server{s.server(mux), s.server(control)}

	errs := make(chan error, len(servers))
	for i, ln := range []net.Listener{s.webhook, s.control} {
		go func() { errs <- servers[i].Serve(ln) }() // both are received below
	}
	received, first := s.wait(ctx, errs)
	s.shutdown(context.WithoutCancel(ctx), servers)
	for ; received < len(servers); received++ {
		if err := <-errs; first == nil && !errors.Is(err, http.ErrServerClosed) {
			first = err
		}
	}
	if first != nil {
		return fmt.Errorf("serve: %w", first)
	}
	return nil
}

// wait returns when the servers are to be shut down: one of them has failed, or
// ctx has ended and Linger has passed since. It counts what it takes of errs.
func (s *Server) wait(ctx context.Context, errs <-chan error) (received int, err error) {
	select {
	case err = <-errs:
		close(s.draining)
		return 1, err
	case <-ctx.Done():
	}
	close(s.draining)
	linger := time.NewTimer(s.options.Linger)
	defer linger.Stop()
	select {
	case err = <-errs:
		return 1, err
	case <-linger.C:
		return 0, nil
	}
}

func (s *Server) shutdown(ctx context.Context, servers []*http.Server) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(ctx); err != nil {
			s.options.Log.Warn("requests were cut off at shutdown", "err", err)
			_ = server.Close()
		}
	}
}

// server bounds what one client can hold: the API server sends a review in one
// go and waits 5 s for the answer.
func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: maxStreams * streamWindow,
		},
		ErrorLog: slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.draining:
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	default:
	}
	if err := s.options.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

func (s *Server) certificateExpiry() time.Time {
	cert, err := s.options.Certificate(&tls.ClientHelloInfo{})
	if err != nil || cert.Leaf == nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}
