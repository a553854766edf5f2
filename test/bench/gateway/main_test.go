// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/raw"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// TestGateway: messages and trailers come through each of the proxies whole.
func TestGateway(t *testing.T) {
	for kind, p := range map[string]scenario.Protocol{"grpc": scenario.GRPC, "h2": scenario.GRPC, "h1": scenario.HTTP1} {
		t.Run(kind, func(t *testing.T) {
			backend := echoGRPC(t)
			if p == scenario.HTTP1 {
				backend = answerHTTP(t, 50_000)
			}
			listen, err := process.NewPorts().Free()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- run(ctx, []string{"-kind", kind, "-listen", listen.String(), "-backend", backend}) }()
			for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				if err = load.Probe(t.Context(), load.Aim{Address: listen}, p, 50_000); err == nil {
					break
				}
				if time.Since(begin) > 5*time.Second {
					t.Fatal(err)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}

func echoGRPC(t *testing.T) string {
	t.Helper()
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw.Codec{}), grpc.UnknownServiceHandler(func(_ any, str grpc.ServerStream) error {
		var message []byte
		if err := str.RecvMsg(&message); err != nil {
			return err
		}
		return str.SendMsg(&message)
	}))
	l := listenLoopback(t)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func answerHTTP(t *testing.T, n int) string {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, n))
	})}
	l := listenLoopback(t)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func listenLoopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
