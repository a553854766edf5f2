// SPDX-License-Identifier: Apache-2.0

package scenario

import "time"

// ChangesPerSecond is how often endpoints change in the Churn scenario.
const ChangesPerSecond = 100

// small is the payload of a unary call, large that of the 200 kB rows.
const (
	small = 100
	large = 200_000
)

// All is the table, in the order in which it is run.
func All() []Scenario {
	all := append(grpcRows(), otherRows()...)
	return append(append(all, tlsRows()...), memoryRows()...)
}

func grpcRows() []Scenario {
	return []Scenario{
		{
			Name: "grpc.c8m10", About: "gRPC unary, 8 connections of 10 calls, saturated", Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Nginx, Envoy, GRPCGo, ReverseProxy, Shunt},
			Load:    Load{Connections: 8, Streams: 10, Requests: 60_000, Payload: small},
		},
		{
			Name: "grpc.c50m1", About: "gRPC unary, 50 connections of one call, saturated", Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Nginx, Envoy, Shunt},
			Load:    Load{Connections: 50, Streams: 1, Requests: 50_000, Payload: small},
		},
		{
			Name: "grpc.2krps", About: "gRPC unary, 2,000 calls a second over 10 connections", Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Nginx, Envoy, Shunt},
			Load:    Load{Connections: 10, Streams: 100, Rate: 2000, Requests: 8000, Payload: small},
		},
		{
			Name: "grpc.8krps", About: "gRPC unary, 8,000 calls a second over 10 connections", Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Shunt},
			Load:    Load{Connections: 10, Streams: 100, Rate: 8000, Requests: 32_000, Payload: small},
		},
		{
			Name: "grpc.8ep", About: "gRPC unary, 8 endpoints, 8 connections of 10 calls, saturated", Protocol: GRPC, Endpoints: 8,
			Targets: []string{HAProxy, Shunt},
			Load:    Load{Connections: 8, Streams: 10, Requests: 60_000, Payload: small},
		},
		{
			Name: "grpc.200kB", About: "gRPC echo of 200 kB, 8 connections of 4 calls, saturated", Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, HAProxy64k, Nginx, Nginx64k, Shunt},
			Load:    Load{Connections: 8, Streams: 4, Requests: 3000, Payload: large},
		},
		{
			Name: "grpc.deadline", About: "gRPC unary from grpc-go, 8 connections of 10 calls, a deadline in each", Kind: Deadlines,
			Protocol: GRPC, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Shunt},
			Load:    Load{Connections: 8, Streams: 10, Requests: 30_000, Payload: small},
		},
	}
}

func otherRows() []Scenario {
	return []Scenario{
		{
			Name: "http1", About: "HTTP/1.1 GET of 100 B, 32 connections, saturated", Protocol: HTTP1, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Nginx, Envoy, ReverseProxy, Shunt},
			Load:    Load{Connections: 32, Duration: 3 * time.Second, Payload: small},
		},
		{
			Name: "tcp.bulk", About: "one TCP stream of iperf3", Kind: Bulk, Protocol: TCP, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Shunt},
			Load:    Load{Connections: 1, Duration: 3 * time.Second},
		},
		{
			Name: "tcp.pingpong", About: "100 B there and back over one TCP connection", Kind: PingPong, Protocol: TCP, Endpoints: 1,
			Targets: []string{Direct, HAProxy, Shunt},
			Load:    Load{Connections: 1, Requests: 30_000, Payload: small},
		},
		{
			Name: "loop", About: "gRPC unary, 2,000 calls a second, 100 endpoint changes a second", Kind: Churn, Protocol: GRPC, Endpoints: 8,
			Targets: []string{Shunt},
			Load:    Load{Connections: 10, Streams: 100, Rate: 2000, Requests: 10_000, Payload: small},
		},
	}
}

func tlsRows() []Scenario {
	return []Scenario{
		{
			Name: "tls.c8m10", About: "TLS 1.3 in front, 8 connections of 10 calls, saturated", Protocol: GRPC, TLS: Front, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 8, Streams: 10, Requests: 60_000, Payload: small},
		},
		{
			Name: "tls.c50m1", About: "TLS 1.3 in front, 50 connections of one call, saturated", Protocol: GRPC, TLS: Front, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 50, Streams: 1, Requests: 50_000, Payload: small},
		},
		{
			Name: "mtls.c8m10", About: "mTLS between two proxies, 8 connections of 10 calls, saturated; CPU of both", Protocol: GRPC, TLS: Mesh, Endpoints: 1,
			Targets: []string{HAProxy, ShuntPlain, Shunt},
			Load:    Load{Connections: 8, Streams: 10, Requests: 60_000, Payload: small},
		},
		{
			Name: "tls.200kB", About: "TLS 1.3 in front, echo of 200 kB, 8 connections of 4 calls, saturated", Protocol: GRPC, TLS: Front, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 8, Streams: 4, Requests: 3000, Payload: large},
		},
		{
			Name: "tls.handshakes", About: "TLS 1.3 in front, 500 calls a second on an open connection, 200 new connections at once among them",
			Kind: Handshakes, Protocol: GRPC, TLS: Front, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 200, Rate: 500, Requests: 1000, Payload: small},
		},
		{
			Name: "tls.idle", About: "memory per idle TLS connection, after one call", Kind: IdleConns, Protocol: GRPC, TLS: Front, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 1000, Payload: 8},
		},
	}
}

func memoryRows() []Scenario {
	return []Scenario{
		{
			Name: "memory.idle", About: "the product's proxy, connected to discovery", Kind: Idle,
			Targets: []string{Shunt},
		},
		{
			Name: "memory.h2", About: "memory per idle HTTP/2 connection, after one call", Kind: IdleConns, Protocol: GRPC, Endpoints: 1,
			Targets: []string{HAProxy, Nginx, Shunt},
			Load:    Load{Connections: 1000, Payload: 8},
		},
		{
			Name: "memory.tcp", About: "memory per idle pair of TCP connections", Kind: IdleConns, Protocol: TCP, Endpoints: 1,
			Targets: []string{HAProxy, Shunt},
			Load:    Load{Connections: 1000, Payload: 8},
		},
		{
			Name: "memory.endpoints", About: "memory per 10,000 endpoints of 100 services, learnt from discovery", Kind: Known,
			Targets: []string{Shunt},
		},
	}
}
