// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
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
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/admin"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// TestDrain: POST /drain makes clients of inbound reconnect; calls go on, and
// the end waits for a stream.
func TestDrain(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("drain", func(t *testing.T) {
		addrs, _ := countingServers(t, 1)
		in := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: addrs[0]} })
		var dials atomic.Int64
		client := grpcClient(t, func(ctx context.Context, s string) (net.Conn, error) {
			dials.Add(1)
			return to(in.Inbound)(ctx, s)
		})
		stream, err := client.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pingPong(t, stream)
		var answer strings.Builder
		if err := admin.Do(t.Context(), in.Options.AdminSocket, http.MethodPost, "/drain", &answer); err != nil {
			t.Fatal(err)
		}
		pingPong(t, stream) // it goes on
		for range 20 {
			if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if dials.Load() != 2 {
			t.Errorf("%d connections, want a second one after GOAWAY", dials.Load())
		}
		if got := raw(t, netip.MustParseAddrPort(in.Options.ReadyListen), "GET /ready HTTP/1.0\r\n\r\n"); !strings.Contains(got, " 200 ") {
			t.Errorf("ready while draining: %q", got)
		}
		in.End()
		time.Sleep(50 * time.Millisecond)
		pingPong(t, stream) // stopping waits for it
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("end of stream: %v", err)
		}
		if body := metricsOf(in); !strings.Contains(body, "shunt_proxy_state 2") {
			t.Errorf("metrics:\n%s", body)
		}
		in.Stop(t)
	})
}

func pingPong(t *testing.T, s testgrpc.TestService_FullDuplexCallClient) {
	t.Helper()
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
}

// TestDrainTimeout: what does not end is cut.
func TestDrainTimeout(t *testing.T) {
	addrs, _ := countingServers(t, 1)
	in := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.DrainTimeout = sidecartest.Origin{Destination: addrs[0]}, 100*time.Millisecond
	})
	stream, err := grpcClient(t, to(in.Inbound)).FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pingPong(t, stream)
	relayed := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.DrainTimeout = sidecartest.Origin{Destination: listenTCP(t, echo)}, 100*time.Millisecond
	})
	c := dial(t, relayed.Inbound)
	io.WriteString(c, "\x01")
	c.Read(make([]byte, 1))
	in.Stop(t)
	relayed.Stop(t)
	if _, err := stream.Recv(); err == nil {
		t.Error("stream goes on")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("TCP goes on")
	}
}

// TestSidecarGoes: a peer's proxy drains and ends while calls run through it.
// None fails: they end in time, or were not taken up and go elsewhere.
func TestSidecarGoes(t *testing.T) {
	addrs, counts := countingServers(t, 2)
	var ins []*sidecartest.Proxy
	for _, app := range addrs {
		ins = append(ins, sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: app} }))
	}
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(ins[0].Inbound, ins[1].Inbound)
	})
	client := grpcClient(t, to(out.Outbound))
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
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
	time.Sleep(100 * time.Millisecond)
	if err := admin.Do(t.Context(), ins[0].Options.AdminSocket, http.MethodPost, "/drain", io.Discard); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	ins[0].Stop(t)
	seen := counts[0].Load()
	time.Sleep(100 * time.Millisecond)
	close(stop)
	calls.Wait()
	if seen == 0 || counts[0].Load() != seen {
		t.Errorf("server saw %d calls, and %d after its proxy had ended", seen, counts[0].Load()-seen)
	}
}
