// SPDX-License-Identifier: Apache-2.0

// Package admin shows the state of a proxy over HTTP, and takes the one
// command that changes it. What listens on TCP is read-only: the application
// shares the loopback interface. Commands come by the unix socket, which lies
// in a volume of the proxy alone.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Options say where to listen and what to show.
type Options struct {
	AdminListen   string // /config_dump, /stats, /ready; loopback
	ReadyListen   string // /ready, for the kubelet
	MetricsListen string // /metrics, for Prometheus
	MergedListen  string // /stats/prometheus, the application's metrics among them; "" is none
	Socket        string // the read-only pages, and POST /drain; "" is none
	Log           *slog.Logger

	Metrics func(io.Writer)
	Merged  http.Handler // what MergedListen serves
	Ready   func() bool
	Drain   func(context.Context)
	Config  func() any
}

// timeout bounds a request: every answer is at hand.
const timeout = 10 * time.Second

// Run serves until ctx ends. An error means that a listener could not be
// opened, or broke.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var servers sync.WaitGroup
	defer servers.Wait()
	for _, l := range []struct {
		network, address string
		handler          http.Handler
	}{
		{"tcp", o.AdminListen, o.readOnly()},
		{"tcp", o.ReadyListen, o.only("GET /ready", http.HandlerFunc(o.ready))},
		{"tcp", o.MetricsListen, o.only("GET /metrics", http.HandlerFunc(o.metrics))},
		{"tcp", o.MergedListen, o.only("GET "+contract.PathMergedMetrics, o.Merged)},
		{"unix", o.Socket, o.commands()},
	} {
		if l.address == "" {
			continue
		}
		listener, err := open(ctx, l.network, l.address)
		if err != nil {
			cancel(err)
			return err
		}
		servers.Go(func() {
			if err := serve(ctx, listener, l.handler, o.Log); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func open(ctx context.Context, network, address string) (net.Listener, error) {
	if network == "unix" {
		if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove old admin socket: %w", err)
		}
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listen for admin on %s: %w", address, err)
	}
	if network == "unix" {
		if err := os.Chmod(address, 0o600); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("restrict admin socket: %w", err)
		}
	}
	return l, nil
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:        h,
		ReadTimeout:    timeout,
		WriteTimeout:   timeout,
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin on %v: %w", l.Addr(), err)
	}
	return nil
}

func (o Options) only(pattern string, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	if h != nil {
		mux.Handle(pattern, h)
	}
	return mux
}

func (o Options) readOnly() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", o.ready)
	mux.HandleFunc("GET /stats", o.metrics)
	mux.HandleFunc("GET /config_dump", o.config)
	return mux
}

func (o Options) commands() http.Handler {
	mux := o.readOnly()
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		o.Drain(r.Context())
		_, _ = io.WriteString(w, "draining\n")
	})
	return mux
}

func (o Options) ready(w http.ResponseWriter, _ *http.Request) {
	if !o.Ready() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func (o Options) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	o.Metrics(w)
}

func (o Options) config(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(o.Config(), "", "  ")
	if err != nil {
		http.Error(w, fmt.Sprintf("encode config dump: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
}
