// SPDX-License-Identifier: Apache-2.0

// Package scenario is the table of what is measured, on whom, and which figures
// and goals come of it. It is pure: the suite acts by it.
package scenario

import "time"

// Kind is what a scenario does with its targets.
type Kind int

// The kinds.
const (
	Requests   Kind = iota // h2load or wrk: CPU per request, rate, latency
	Deadlines              // grpc-go as client, each call with a deadline
	Bulk                   // iperf3, one stream
	PingPong               // one TCP connection, one message at a time
	Churn                  // requests while endpoints change
	Handshakes             // requests on an open connection while many others shake hands
	IdleConns              // memory per idle connection
	Idle                   // memory of the product's proxy, connected to discovery
	Known                  // memory per endpoint known
)

// Protocol is what is sent.
type Protocol string

// The protocols.
const (
	GRPC  Protocol = "grpc"
	HTTP1 Protocol = "http1"
	TCP   Protocol = "tcp"
)

// TLS says between whom records are encrypted.
type TLS int

// The arrangements. Mesh is a chain of two proxies: client, plain, proxy, mTLS,
// proxy, plain, server.
const (
	Plain TLS = iota
	Front     // client to proxy; the server is spoken to in plaintext
	Mesh
)

// The targets.
const (
	Direct       = "direct"
	HAProxy      = "haproxy"
	HAProxy64k   = "haproxy-64k" // with buffers of 64 KiB, the default is 16
	Nginx        = "nginx"
	Nginx64k     = "nginx-64k" // with buffers of 64 KiB, the default is 4
	Envoy        = "envoy"
	GRPCGo       = "grpc-go"
	ReverseProxy = "reverseproxy"
	Shunt        = "shunt"
	ShuntPlain   = "shunt-plain" // the chain of a Mesh scenario, without TLS
)

// Load is what one run sends.
type Load struct {
	Connections int
	Streams     int           // in flight on each connection
	Requests    int           // in all
	Rate        int           // requests per second in all; 0 is as fast as answers come
	Payload     int           // bytes of a message, there and back
	Duration    time.Duration // of loads that run for a time instead
}

// Scenario is one row.
type Scenario struct {
	Name      string
	About     string
	Kind      Kind
	Protocol  Protocol
	TLS       TLS
	Targets   []string
	Endpoints int
	Load      Load
}

// For is the load of one target. Targets that are slower by far get a part, so
// that the whole run stays bounded; figures are per request.
func (s Scenario) For(target string) Load {
	l := s.Load
	if l.Rate == 0 && (target == Envoy || target == GRPCGo || target == ReverseProxy) {
		l.Requests = max(l.Requests/4, 1)
	}
	return l
}

// Quick is a run that only shows that everything works.
func (s Scenario) Quick() Scenario {
	if s.Kind == IdleConns {
		s.Load.Connections = 100
		return s
	}
	if s.Kind == Known {
		return s
	}
	if s.Kind == Handshakes {
		s.Load.Requests /= 4
		return s
	}
	s.Load.Requests = max(s.Load.Requests/40, 4*s.Load.Connections*max(s.Load.Streams, 1))
	if s.Load.Rate > 0 {
		s.Load.Requests = s.Load.Rate / 2
	}
	if s.Load.Duration > 0 {
		s.Load.Duration = time.Second // the least of wrk and iperf3
	}
	return s
}

// Metric is a value of one run.
type Metric string

// The metrics, in the order of tables.
const (
	CPU        Metric = "cpu_us"         // of the proxy, per request or round trip
	Rate       Metric = "rps"            // answered
	P50        Metric = "p50_us"         //
	P99        Metric = "p99_us"         //
	Longest    Metric = "longest_ms"     // of all answers
	Burst      Metric = "burst_ms"       // until all handshakes are done
	BackendCPU Metric = "backend_cpu_us" // per request
	Throughput Metric = "gbit_s"         //
	CPUPerGiB  Metric = "cpu_ms_per_gib" //
	Stall      Metric = "max_stall_ms"   // of the loop
	Updates    Metric = "updates_s"      // taken over from discovery
	RSS        Metric = "rss_mib"        //
	Private    Metric = "private_mib"    // anonymous memory
	PerConn    Metric = "kib_per_conn"   // growth of RSS
	Per10k     Metric = "mib_per_10k"    // growth of RSS
)

// Metrics lists them in the order of tables, with what a reader sees.
func Metrics() []struct {
	Metric Metric
	Title  string
} {
	return []struct {
		Metric Metric
		Title  string
	}{
		{CPU, "CPU, us/request"},
		{Rate, "requests/s"},
		{P50, "p50, us"},
		{P99, "p99, us"},
		{Longest, "longest answer, ms"},
		{Burst, "all handshakes, ms"},
		{BackendCPU, "backend CPU, us/request"},
		{Throughput, "Gbit/s"},
		{CPUPerGiB, "CPU, ms/GiB"},
		{Stall, "longest stall, ms"},
		{Updates, "updates/s"},
		{RSS, "RSS, MiB"},
		{Private, "private, MiB"},
		{PerConn, "KiB/connection"},
		{Per10k, "MiB/10k endpoints"},
	}
}
