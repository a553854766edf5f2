// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// TestInterop runs the official gRPC interop cases through two proxies.
func TestInterop(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("cases", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
		go server.Serve(l)
		t.Cleanup(server.Stop)
		interopCases(t, chain(t, sidecartest.AddrOf(l)).String())
	})
}

func interopCases(t *testing.T, target string) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testgrpc.NewTestServiceClient(conn)
	type testCase = func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
	cases := []struct {
		name string
		run  testCase
	}{
		{"empty_unary", interop.DoEmptyUnaryCall},
		{"large_unary", interop.DoLargeUnaryCall},
		{"client_streaming", interop.DoClientStreaming},
		{"server_streaming", interop.DoServerStreaming},
		{"ping_pong", interop.DoPingPong},
		{"empty_stream", interop.DoEmptyStream},
		{"custom_metadata", interop.DoCustomMetadata},
		{"status_code_and_message", interop.DoStatusCodeAndMessage},
		{"special_status_message", interop.DoSpecialStatusMessage},
		{"unimplemented_method", func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption) {
			interop.DoUnimplementedMethod(context.Background(), conn)
		}},
		{"unimplemented_service", func(ctx context.Context, _ testgrpc.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
		}},
		{"cancel_after_begin", interop.DoCancelAfterBegin},
		{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
		{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			tt.run(ctx, client) // ends the process when it fails
		})
	}
}

// TestBlanksOfGRPC: grpc-go writes blanks around values as they are, and reads
// them so. RFC 9113, section 8.2.1, calls such fields malformed.
func TestBlanksOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	go server.Serve(l)
	t.Cleanup(server.Stop)
	client := grpcClient(t, to(chain(t, sidecartest.AddrOf(l))))
	const message = " blanks on both sides "
	_, err = client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 2, Message: message}})
	if got := status.Convert(err).Message(); got != message {
		t.Errorf("message %q, %v", got, err)
	}
}
