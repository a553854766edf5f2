// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
)

// sink is a stream that forgets all, and the core that opens it.
type sink struct {
	loop.Core
	h              message.Handler
	heads, credits int
	body           [100]byte
}

func (s *sink) SendHead(*message.Head, bool)          { s.heads++ }
func (s *sink) SendData([]byte, bool)                 {}
func (s *sink) Unsent() int                           { return 0 }
func (s *sink) Credit(n int)                          { s.credits += n }
func (s *sink) Reset(message.Code)                    {}
func (s *sink) Open(h message.Handler) message.Stream { s.h = h; return s }
func (s *sink) Room() int                             { return 1 }
func (s *sink) Streams() int                          { return 0 }

// exchanges are what costs nothing once there was one like it.
var exchanges = map[string]struct {
	request func() *message.Head
	stable  bool
	trailer bool
}{
	"gRPC":          {func() *message.Head { return grpcRequest(field("grpc-timeout", "1S")) }, true, true},
	"gRPC, rare":    {func() *message.Head { return grpcRequest(field("grpc-timeout", "1S")) }, false, true},
	"HTTP/1 or 2":   {func() *message.Head { return request() }, true, false},
	"HTTP/1, often": {func() *message.Head { return request() }, false, false},
}

func runExchange(r *rig, down, up *sink, request, response, trailers *message.Head) {
	in := r.client.accept(down)
	in.OnHead(request, false)
	in.OnData(down.body[:50], false)
	in.OnData(down.body[:], true)
	out := up.h
	out.OnHead(response, false)
	out.OnData(down.body[:], trailers == nil)
	if trailers != nil {
		out.OnHead(trailers, true)
	}
}

// TestAllocs: a request allocates nothing.
func TestAllocs(t *testing.T) {
	for name, tt := range exchanges {
		t.Run(name, func(t *testing.T) {
			r, up, down := newRig(t, kindHTTP2, 0, nil), &sink{}, &sink{}
			r.addEndpoints(1)
			req, res, tr := tt.request(), response(200, field("content-type", "application/grpc")), trailers(field("grpc-status", "0"))
			req.Stable = tt.stable
			if !tt.trailer {
				tr = nil
			}
			r.do(func() {
				(&serverConn{group: r.shard.pool.group(groupKey{r.endpoints[0].Addr(), kindHTTP2}), core: up}).join()
				if n := testing.AllocsPerRun(200, func() { runExchange(r, down, up, req, res, tr) }); n != 0 {
					t.Errorf("%v allocations", n)
				}
			})
			if down.heads == 0 || down.credits == 0 || up.credits == 0 {
				t.Errorf("%d heads, %d and %d bytes are credited", down.heads, down.credits, up.credits)
			}
			r.wantMetric("requests_total", map[string]int{"2xx": 201})
			r.wantIdle()
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	r, up, down := newRig(b, kindHTTP2, 0, nil), &sink{}, &sink{}
	r.addEndpoints(1)
	req, res, tr := grpcRequest(field("grpc-timeout", "1S")), response(200), trailers(field("grpc-status", "0"))
	req.Stable = true
	r.do(func() {
		(&serverConn{group: r.shard.pool.group(groupKey{r.endpoints[0].Addr(), kindHTTP2}), core: up}).join()
		b.ReportAllocs()
		for b.Loop() {
			runExchange(r, down, up, req, res, tr)
		}
	})
}
