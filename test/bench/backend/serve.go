// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"google.golang.org/grpc"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/raw"
)

// serveGRPC has the method of bench.Echo. Messages stay bytes.
func serveGRPC(ctx context.Context, l net.Listener, count func(), _ int) error {
	unary := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var f raw.Frame
		if err := decode(&f); err != nil {
			return nil, err
		}
		count()
		return &f, nil
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw.Codec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
	}, nil)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// serveHTTP1 answers everything with payload bytes.
func serveHTTP1(ctx context.Context, l net.Listener, count func(), payload int) error {
	body := load.Message(payload)[5:]
	s := &fasthttp.Server{
		Handler:               func(c *fasthttp.RequestCtx) { count(); c.Response.SetBodyRaw(body) },
		NoDefaultServerHeader: true,
		CloseOnShutdown:       true,
	}
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.ShutdownWithContext(limited)
	})
	defer stop()
	return s.Serve(l)
}

// serveTCP sends back what comes, and counts connections.
func serveTCP(ctx context.Context, l net.Listener, count func(), _ int) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		count()
		wg.Go(func() { echo(ctx, c) })
	}
}

func echo(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer func() { _ = c.Close() }()
	buffer := make([]byte, 4<<10)
	for {
		n, err := c.Read(buffer)
		if n > 0 {
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
