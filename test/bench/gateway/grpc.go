// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/test/bench/raw"
)

// proxyGRPC passes every method on as a stream in both directions, which a unary
// call is too (the technique of mwitkow/grpc-proxy).
func proxyGRPC(ctx context.Context, l net.Listener, backend string) error {
	conn, err := grpc.NewClient("passthrough:///"+backend,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw.Codec{})),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return fmt.Errorf("prepare connection: %w", err)
	}
	defer func() { _ = conn.Close() }()
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(raw.Codec{}),
		grpc.UnknownServiceHandler(func(_ any, down grpc.ServerStream) error { return pass(conn, down) }),
	)
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func pass(conn *grpc.ClientConn, down grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(down)
	if !ok {
		return status.Error(codes.Internal, "stream without a method")
	}
	in, _ := metadata.FromIncomingContext(down.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(down.Context(), in.Copy()))
	defer cancel()
	up, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	go passUp(up, down)
	err = passDown(up, down)
	down.SetTrailer(up.Trailer())
	return err
}

// passUp ends when the client has sent all, or either stream has ended; then
// why is what receiving tells. It ends after the handler at the latest.
func passUp(up grpc.ClientStream, down grpc.ServerStream) {
	for {
		var f raw.Frame
		if down.RecvMsg(&f) != nil {
			_ = up.CloseSend()
			return
		}
		if up.SendMsg(&f) != nil {
			return
		}
	}
}

func passDown(up grpc.ClientStream, down grpc.ServerStream) error {
	for first := true; ; first = false {
		var f raw.Frame
		err := up.RecvMsg(&f)
		if first {
			if header, headerErr := up.Header(); headerErr == nil {
				if err := down.SendHeader(header); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := down.SendMsg(&f); err != nil {
			return err
		}
	}
}
