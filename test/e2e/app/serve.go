// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
)

// answer is what every server says of itself and of its caller.
type answer struct {
	Pod    string `json:"pod"`
	Remote string `json:"remote"` // address of the caller as the server sees it
	Proto  string `json:"proto"`
	Host   string `json:"host,omitempty"`
}

type servers struct {
	grpc, http, tls, tcp, local string
}

func serve(ctx context.Context, args []string) error {
	var s servers
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&s.grpc, "grpc", ":50051", "gRPC listen address")
	flags.StringVar(&s.http, "http", ":8080", "HTTP listen address")
	flags.StringVar(&s.tls, "tls", ":8443", "HTTPS listen address, with a certificate made at start")
	flags.StringVar(&s.tcp, "tcp", ":9000", "listen address of a line-by-line TCP server")
	flags.StringVar(&s.local, "local", "127.0.0.1:7070", "HTTP listen address that only this pod should reach")
	after := flags.Duration("after", 0, "how long to do nothing before listening")
	if err := flags.Parse(args); err != nil {
		return err
	}
	select {
	case <-time.After(*after):
	case <-ctx.Done():
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 5)
	for _, start := range []func(context.Context) error{
		s.serveGRPC,
		func(ctx context.Context) error { return serveHTTP(ctx, s.http, nil) },
		func(ctx context.Context) error { return serveHTTP(ctx, s.local, nil) },
		s.serveTLS,
		s.serveTCP,
	} {
		wg.Go(func() {
			defer cancel()
			errs <- start(ctx)
		})
	}
	wg.Wait()
	return <-errs
}

type greeter struct {
	testgrpc.UnimplementedTestServiceServer
}

// UnaryCall answers with this pod's name and the address that it saw.
func (greeter) UnaryCall(ctx context.Context, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	p, _ := peer.FromContext(ctx)
	return &testgrpc.SimpleResponse{ServerId: podName(), Hostname: p.Addr.String()}, nil
}

func (s servers) serveGRPC(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.grpc)
	if err != nil {
		return fmt.Errorf("listen for gRPC: %w", err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, greeter{})
	healthgrpc.RegisterHealthServer(server, health.NewServer()) // for gRPC probes
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	return server.Serve(listener)
}

func serveHTTP(ctx context.Context, addr string, config *tls.Config) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Addr: addr, TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = fmt.Fprintf(w, "# TYPE app_answers counter\napp_answers{pod=%q} 1\n", podName())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer{Pod: podName(), Remote: r.RemoteAddr, Proto: r.Proto, Host: r.Host})
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.WithoutCancel(ctx)) })
	defer stop()
	serve := server.ListenAndServe
	if config != nil {
		serve = func() error { return server.ListenAndServeTLS("", "") }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", addr, err)
	}
	return nil
}

func (s servers) serveTLS(ctx context.Context) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	return serveHTTP(ctx, s.tls, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"e2e.test"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// serveTCP answers every line with one JSON line, and waits for the client to
// speak first with bytes that are no protocol that a proxy knows.
func (s servers) serveTCP(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.tcp)
	if err != nil {
		return fmt.Errorf("listen for TCP: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil
		}
		wg.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if err := json.NewEncoder(conn).Encode(answer{Pod: podName(), Remote: conn.RemoteAddr().String(), Proto: "tcp"}); err != nil {
					return
				}
			}
		})
	}
}

func podName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
