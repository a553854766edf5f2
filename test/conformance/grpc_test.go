// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// TestGRPC has grpc-go and net/http, each with an HTTP/2 of its own, talk to one
// another, in every arrangement of TLS. The official cases are run by the
// proxy's own tests.
func TestGRPC(t *testing.T) {
	for _, a := range arrangements() {
		for name, start := range map[string]func(*testing.T, bool, transport.Files) netip.AddrPort{
			"grpc-go": startGRPC, "grpc-go on net-http": startGRPCOnNetHTTP,
		} {
			t.Run(a.name+"/"+name, func(t *testing.T) {
				files := sidecartest.NewFiles(t)
				out, in := sidecartest.Chain(t, start(t, a.secureServer, files),
					func(o *proxy.Options) { o.TLS = a.out(files) },
					func(o *proxy.Options) { o.TLS = a.in(files) })
				at := target{address: out.Outbound, secure: a.secureClient, files: files}
				t.Run("from grpc-go", func(t *testing.T) { callWithGRPC(t, at) })
				t.Run("from net-http", func(t *testing.T) { callWithNetHTTP(t, at) })
				if got := tallyOf(t, in, stats.Inbound); len(got.errors) > 0 {
					t.Errorf("inbound ended requests itself: %v", got.errors)
				}
			})
		}
	}
}

func newGRPC(options ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	return s
}

func startGRPC(t *testing.T, secure bool, f transport.Files) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var options []grpc.ServerOption
	if secure {
		c, err := credentials.NewServerTLSFromFile(f.Certificate, f.Key)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, grpc.Creds(c))
	}
	s := newGRPC(options...)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("grpc-go: %v", err)
		}
	})
	return sidecartest.AddrOf(l)
}

func startGRPCOnNetHTTP(t *testing.T, secure bool, f transport.Files) netip.AddrPort {
	t.Helper()
	s := &http.Server{Handler: newGRPC()}
	if secure {
		return serve(t, s, func(l net.Listener) error { return s.ServeTLS(l, f.Certificate, f.Key) })
	}
	return serve(t, s, s.Serve)
}

// callWithGRPC makes a large unary call and streams in both directions.
func callWithGRPC(t *testing.T, a target) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	creds := insecure.NewCredentials()
	if a.secure {
		creds = credentials.NewTLS(sidecartest.ClientTLS(t, a.files, false))
	}
	conn, err := grpc.NewClient("passthrough:///"+a.address.String(), grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := testgrpc.NewTestServiceClient(conn)
	const size = 300_007
	reply, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: size, Payload: &testgrpc.Payload{Body: make([]byte, size)}})
	if err != nil || len(reply.GetPayload().GetBody()) != size {
		t.Fatalf("%d bytes came back: %v", len(reply.GetPayload().GetBody()), err)
	}
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1000}, {Size: 7}}}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1000, 7} {
			if got, err := stream.Recv(); err != nil || len(got.GetPayload().GetBody()) != want {
				t.Fatalf("%d bytes came in the stream, want %d: %v", len(got.GetPayload().GetBody()), want, err)
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF { //nolint:errorlint // grpc-go gives io.EOF itself
		t.Errorf("the stream ended with %v", err)
	}
}

// callWithNetHTTP makes a unary call by hand: a frame each way, and the status in
// the trailers.
func callWithNetHTTP(t *testing.T, a target) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	message, err := proto.Marshal(&testgrpc.SimpleRequest{ResponseSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url("/grpc.testing.TestService/UnaryCall"), bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := netHTTP(t, stats.HTTP2, a).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || len(body) < 1000 || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%d bytes, trailers %v, %v", len(body), res.Trailer, err)
	}
}
