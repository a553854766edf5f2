// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// counting is a server that counts its calls.
type counting struct {
	testgrpc.UnimplementedTestServiceServer
	calls *atomic.Int64
	die   func()
}

func (c counting) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	c.calls.Add(1)
	if p, ok := peer.FromContext(ctx); ok {
		_ = grpc.SetHeader(ctx, metadata.Pairs("seen-from", p.Addr.(*net.TCPAddr).IP.String()))
	}
	if md, _ := metadata.FromIncomingContext(ctx); len(md["die"]) > 0 {
		c.die()
		<-ctx.Done()
	}
	return &testgrpc.Empty{}, nil
}

func (c counting) StreamingInputCall(s grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	c.calls.Add(1)
	size := int32(0)
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			return err
		}
		size += int32(len(m.GetPayload().GetBody()))
	}
}

// FullDuplexCall stays open until the client ends it.
func (c counting) FullDuplexCall(s grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	c.calls.Add(1)
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

// newServer runs a server on l, and returns it.
func newServer(t *testing.T, l net.Listener, calls *atomic.Int64, options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	s := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(s, counting{calls: calls, die: func() { go s.Stop() }})
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return s
}

func countingServers(t *testing.T, n int) ([]netip.AddrPort, []atomic.Int64) {
	t.Helper()
	addrs, counts := make([]netip.AddrPort, n), make([]atomic.Int64, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		newServer(t, l, &counts[i])
		addrs[i] = sidecartest.AddrOf(l)
	}
	return addrs, counts
}

func to(addr netip.AddrPort) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr.String())
	}
}

// TestOneConnectionIsSpread is the product in one test: calls of one
// connection, many at once, evenly over all endpoints.
func TestOneConnectionIsSpread(t *testing.T) {
	const servers, workers, calls = 3, 8, 1875 // 5,000 calls a server, as in the demo
	addrs, counts := countingServers(t, servers)
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(addrs...)
	})
	client := grpcClient(t, to(out.Outbound))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls {
				if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range counts {
		if share := float64(counts[i].Load()) * servers / (workers * calls); share > 1.05 {
			t.Errorf("server %d got %.3f of its fair share", i, share)
		}
	}
}

// TestRollOut: servers go one after another, each with GOAWAY and then a
// closed port, while calls run. None fails.
func TestRollOut(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("calls", func(t *testing.T) {
		var calls atomic.Int64
		var addrs []netip.AddrPort
		var servers []*grpc.Server
		for range 4 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addrs, servers = append(addrs, sidecartest.AddrOf(l)), append(servers, newServer(t, l, &calls))
		}
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(addrs...)
		})
		client := grpcClient(t, to(out.Outbound))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := someCall(t.Context(), client, i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for _, s := range servers[:2] {
			time.Sleep(100 * time.Millisecond)
			s.GracefulStop()
		}
		time.Sleep(100 * time.Millisecond)
		close(stop)
		wg.Wait()
		t.Logf("%d calls", calls.Load())
	})
}

// someCall is a unary call, or a client stream whose first message may go out
// before the endpoint says that it is gone.
func someCall(ctx context.Context, client testgrpc.TestServiceClient, i int) error {
	if i%2 == 0 {
		_, err := client.EmptyCall(ctx, &testgrpc.Empty{})
		return err
	}
	s, err := client.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: make([]byte, 1000)}}); err != nil {
			_, err = s.CloseAndRecv()
			return err
		}
	}
	res, err := s.CloseAndRecv()
	if err == nil && res.GetAggregatedPayloadSize() != 3000 {
		err = fmt.Errorf("server got %d bytes of 3000", res.GetAggregatedPayloadSize())
	}
	return err
}

// TestServerDies: what was in flight fails with a reason, at once; what comes
// after does not.
func TestServerDies(t *testing.T) {
	addrs, counts := countingServers(t, 2)
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(addrs...)
	})
	client := grpcClient(t, to(out.Outbound))
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "die", "now")
	_, err := client.EmptyCall(ctx, &testgrpc.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("in flight: %v", err)
	}
	if got := append(header["shunt-error"], trailer["shunt-error"]...); len(got) != 1 || got[0] != "upstream-reset" {
		t.Errorf("shunt-error %q; header %v, trailer %v", got, header, trailer)
	}
	for range 20 {
		if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := counts[0].Load() + counts[1].Load(); n != 21 {
		t.Errorf("servers saw %d calls of 21: what may have been seen is never sent again", n)
	}
}

// TestNoEndpointSaysWhy for gRPC and for plain HTTP.
func TestNoEndpointSaysWhy(t *testing.T) {
	for want, resolver := range map[string]sidecartest.Discovery{"no-endpoints": sidecartest.ServiceAt(), "connect-refused": sidecartest.ServiceAt(closedAddr(t), closedAddr(t))} {
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, resolver
		})
		var header metadata.MD
		_, err := grpcClient(t, to(out.Outbound)).EmptyCall(t.Context(), &testgrpc.Empty{}, grpc.Trailer(&header))
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if got := header["shunt-error"]; len(got) != 1 || got[0] != want {
			t.Errorf("shunt-error %v, want %s", header, want)
		}
		res, err := clientTo(t, out.Outbound).Get("http://a/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Shunt-Error"); res.StatusCode != http.StatusServiceUnavailable || got != want {
			t.Errorf("%s %s, want %s", res.Status, got, want)
		}
	}
}

// TestPeerSaysRefused: the answer of a peer's proxy that could not reach its
// application sends the request elsewhere, but only with the peer's own
// address in it.
func TestPeerSaysRefused(t *testing.T) {
	var told atomic.Int64
	refuse := func(at string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			told.Add(1)
			io.Copy(io.Discard, r.Body)
			if at == "" {
				at = r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			}
			w.Header().Set("Shunt-Error", "connect-refused")
			w.Header().Set("Shunt-Error-At", at)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	peer, liar := serve(t, refuse("")), serve(t, refuse("192.0.2.7:80"))
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	for range 4 {
		out := sidecartest.Start(t, func(o *proxy.Options) {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(peer, app)
		})
		for range 3 {
			res, err := clientTo(t, out.Outbound).Post("http://a/", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if string(body) != "body" {
				t.Errorf("%s %q", res.Status, body)
			}
		}
	}
	told.Store(0)
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(liar)
	})
	res, err := clientTo(t, out.Outbound).Get("http://a/")
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || told.Load() != 1 {
		t.Errorf("%v, %v, asked %d times; want one answer, passed on", res, err, told.Load())
	}
}

// TestInboundSpeaksForItself: an application's own shunt-error is dropped, and
// a port where none listens is said to be refused, with the address.
func TestInboundSpeaksForItself(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Shunt-Error", "connect-refused") }))
	in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: app} })
	res, err := clientTo(t, in.Inbound).Get("http://a/")
	if err != nil || res.Header["Shunt-Error"] != nil {
		t.Errorf("%v, %v", res, err)
	}
	closed := closedAddr(t)
	in = sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: closed} })
	res, err = clientTo(t, in.Inbound).Get("http://a/")
	if err != nil || res.Header.Get("Shunt-Error") != "connect-refused" || res.Header.Get("Shunt-Error-At") != closed.String() {
		t.Errorf("%v, %v", res, err)
	}
}

// TestManyStreams: more than one connection is used when the server allows few
// streams on each.
func TestManyStreams(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	newServer(t, l, &calls, grpc.MaxConcurrentStreams(5))
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(sidecartest.AddrOf(l))
	})
	client := grpcClient(t, to(out.Outbound))
	for range 23 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pingPong(t, s)
	}
}

func TestHeaderLimit(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin, o.HTTP1.MaxHeaderBytes = sidecartest.Origin{Destination: app}, 2048 })
	req, _ := http.NewRequest(http.MethodGet, "http://a/", nil)
	req.Header.Set("X-Long", strings.Repeat("a", 3000))
	res, err := clientTo(t, in.Inbound).Do(req)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || res.Header.Get("Shunt-Error") != "header-too-large" {
		t.Errorf("%v, %v", res, err)
	}
}
