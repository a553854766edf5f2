// SPDX-License-Identifier: Apache-2.0

// Package stats counts what the data path does, as Prometheus metrics named
// shunt_proxy_*. Every method is safe for concurrent use. What is counted for
// each request is counted by a handle that its connection got once.
package stats

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// Direction is the value of a label: which listener a connection came from.
type Direction string

// The directions.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// Kind is the value of a label: what is done with a connection.
type Kind string

// The kinds. A passed-through connection is relayed as TCP to the address that
// it was going to; a TCP one to an endpoint of a service, or to our own pod.
const (
	HTTP1       Kind = "http1"
	HTTP2       Kind = "http2"
	TCP         Kind = "tcp"
	Passthrough Kind = "passthrough"
)

// Limit is the value of a label: which limit was hit.
type Limit string

// The limits that no protocol core knows: those have names of their own.
const (
	LimitConnections    Limit = "connections"
	LimitDescriptors    Limit = "descriptors"
	LimitEndpointConns  Limit = "endpoint-connections"
	LimitHandshakes     Limit = "handshakes" // TLS, under way at once
	LimitReplay         Limit = "replay-bytes"
	LimitConnect        Limit = "connect-timeout"
	LimitResolve        Limit = "resolve-timeout"
	LimitDetect         Limit = "detect-timeout"
	LimitHandshake      Limit = "handshake-timeout"
	LimitHeader         Limit = "header-timeout"
	LimitSettings       Limit = "settings-timeout"
	LimitIdleHTTP1      Limit = "http1-idle-timeout"
	LimitIdleHTTP2      Limit = "http2-idle-timeout"
	LimitClose          Limit = "close-timeout"
	LimitDrain          Limit = "drain-timeout"
	LimitAppMetrics     Limit = "app-metrics-bytes"
	LimitAppMetricsTime Limit = "app-metrics-timeout"
)

// Stats is the set of all counters.
type Stats struct {
	set      *metrics.Set
	counters sync.Map // comparable key -> *metrics.Counter
	state    atomic.Int64

	mu       sync.Mutex
	services map[string]struct{}
	requests map[requestsKey]*Requests
	conns    map[connKey]*Conn
}

// New returns counters at zero.
func New() *Stats {
	s := &Stats{
		set:      metrics.NewSet(),
		services: map[string]struct{}{},
		requests: map[requestsKey]*Requests{},
		conns:    map[connKey]*Conn{},
	}
	s.set.NewGauge("shunt_proxy_state", func() float64 { return float64(s.state.Load()) })
	info := fmt.Sprintf("shunt_proxy_build_info{version=%q,go_version=%q}", version.Version, runtime.Version())
	s.set.NewGauge(info, func() float64 { return 1 })
	return s
}

// WritePrometheus writes all counters and those of the process as text.
func (s *Stats) WritePrometheus(w io.Writer) {
	s.WriteOwn(w)
	metrics.WriteProcessMetrics(w)
}

// WriteOwn writes all counters as text. Each is named shunt_proxy_*, unlike those
// of the process, which an application has too.
func (s *Stats) WriteOwn(w io.Writer) { s.set.WritePrometheus(w) }

// Gauge shows a value of another part under shunt_proxy_<name>.
func (s *Stats) Gauge(name string, value func() float64) { s.set.NewGauge("shunt_proxy_"+name, value) }

// SetState shows how far a drain is: 0 serving, 1 draining, 2 stopping.
func (s *Stats) SetState(state int) { s.state.Store(int64(state)) }

type reasonKey struct {
	metric    string
	direction Direction
	reason    string
}

func (k reasonKey) name() string {
	return fmt.Sprintf("shunt_proxy_%s{direction=%q,reason=%q}", k.metric, k.direction, k.reason)
}

// Error counts a request or connection that the proxy itself ended.
func (s *Stats) Error(d Direction, r reason.Reason) {
	counter(s, reasonKey{"errors_total", d, string(r)}, reasonKey.name).Inc()
}

// Retry counts a request that was sent again, by what became of it before.
func (s *Stats) Retry(d Direction, r reason.Reason) {
	counter(s, reasonKey{"retries_total", d, string(r)}, reasonKey.name).Inc()
}

// Ejected counts how often an endpoint was ejected for failing requests.
func (s *Stats) Ejected(d Direction) {
	counter(s, reasonKey{"ejections_total", d, "consecutive-failures"}, reasonKey.name).Inc()
}

// PassedThrough counts a connection that was not balanced, by the reason:
// no-service, unresolved or no-discovery.
func (s *Stats) PassedThrough(reason string) {
	counter(s, reasonKey{"passthrough_total", Outbound, reason}, reasonKey.name).Inc()
}

type limitKey struct {
	direction Direction
	limit     Limit
}

// LimitHit counts how often a limit changed what the proxy did.
func (s *Stats) LimitHit(d Direction, l Limit) {
	counter(s, limitKey{d, l}, func(k limitKey) string {
		return fmt.Sprintf("shunt_proxy_limit_hits_total{direction=%q,limit=%q}", k.direction, k.limit)
	}).Inc()
}

type appMetricsKey struct{ result string }

// AppMetrics counts a question to the application for its metrics, by what came
// of it.
func (s *Stats) AppMetrics(result string) {
	counter(s, appMetricsKey{result}, func(k appMetricsKey) string {
		return fmt.Sprintf("shunt_proxy_app_metrics_total{result=%q}", k.result)
	}).Inc()
}

type dialKey struct {
	direction Direction
	result    string
}

// Dial counts a connection attempt to an upstream, by its result: ok or a
// reason.
func (s *Stats) Dial(d Direction, r reason.Reason) {
	result := string(r)
	if r == reason.None {
		result = "ok"
	}
	counter(s, dialKey{d, result}, func(k dialKey) string {
		return fmt.Sprintf("shunt_proxy_upstream_dials_total{direction=%q,result=%q}", k.direction, k.result)
	}).Inc()
}

func counter[K comparable](s *Stats, key K, name func(K) string) *metrics.Counter {
	if c, ok := s.counters.Load(key); ok {
		return c.(*metrics.Counter)
	}
	c := s.set.GetOrCreateCounter(name(key))
	s.counters.Store(key, c)
	return c
}
