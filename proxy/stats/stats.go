// SPDX-License-Identifier: Apache-2.0

// Package stats counts what the data path does, as Prometheus metrics named
// shunt_proxy_*. Every method is safe for concurrent use and finds its counter
// by a comparable key, so that a request formats no string.
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

// The limits.
const (
	LimitConnections Limit = "connections"
	LimitDescriptors Limit = "descriptors"
	LimitStreams     Limit = "streams"
	LimitHeaderBytes Limit = "header-bytes"
	LimitReplay      Limit = "replay-bytes" // a request body that outgrew the buffer for re-sends
	LimitIdle        Limit = "idle-timeout"
)

// maxServices bounds the label "service". What comes later is counted as
// "other": in a sidecar it takes a scan of ports to get there.
const maxServices = 500

// Stats is the set of all counters.
type Stats struct {
	set      *metrics.Set
	counters sync.Map // comparable key -> *metrics.Counter
	gauges   sync.Map // comparable key -> *metrics.Gauge
	services sync.Map // service -> struct{}
	known    atomic.Int64
	state    atomic.Int64
}

// New returns counters at zero.
func New() *Stats {
	s := &Stats{set: metrics.NewSet()}
	s.set.NewGauge("shunt_proxy_state", func() float64 { return float64(s.state.Load()) })
	info := fmt.Sprintf("shunt_proxy_build_info{version=%q,go_version=%q}", version.Version, runtime.Version())
	s.set.NewGauge(info, func() float64 { return 1 })
	return s
}

// WritePrometheus writes all counters and those of the process as text.
func (s *Stats) WritePrometheus(w io.Writer) {
	s.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// Gauge shows a value of another part under shunt_proxy_<name>.
func (s *Stats) Gauge(name string, value func() float64) { s.set.NewGauge("shunt_proxy_"+name, value) }

// SetState shows how far a drain is: 0 serving, 1 draining, 2 stopping.
func (s *Stats) SetState(state int) { s.state.Store(int64(state)) }

type requestKey struct {
	direction Direction
	service   string
	protocol  Kind
	class     int
}

// Request counts an HTTP request by the class of its status ("2xx").
func (s *Stats) Request(d Direction, service string, protocol Kind, status int) {
	key := requestKey{d, s.bounded(service), protocol, status / 100}
	counter(s, key, func(k requestKey) string {
		return fmt.Sprintf("shunt_proxy_requests_total{direction=%q,service=%q,protocol=%q,class=\"%dxx\"}",
			k.direction, k.service, k.protocol, k.class)
	}).Inc()
}

type grpcKey struct {
	direction Direction
	service   string
	status    string
}

// GRPC counts a gRPC answer by its status code, a decimal number.
func (s *Stats) GRPC(d Direction, service, status string) {
	switch {
	case status == "":
		status = "none"
	case len(status) > 2 || status[0] < '0' || status[0] > '9':
		status = "other" // the peer chose it: keep the label bounded
	}
	counter(s, grpcKey{d, s.bounded(service), status}, func(k grpcKey) string {
		return fmt.Sprintf("shunt_proxy_grpc_responses_total{direction=%q,service=%q,grpc_status=%q}",
			k.direction, k.service, k.status)
	}).Inc()
}

type connKey struct {
	metric    string
	direction Direction
	kind      Kind
}

func (k connKey) name() string {
	return fmt.Sprintf("shunt_proxy_%s{direction=%q,kind=%q}", k.metric, k.direction, k.kind)
}

// Conn is the counters of one kind of connection.
type Conn struct {
	opened, fromClient, toClient *metrics.Counter
	active                       *metrics.Gauge
}

// Conn returns the counters of connections of a kind.
func (s *Stats) Conn(d Direction, k Kind) Conn {
	return Conn{
		opened:     counter(s, connKey{"connections_opened_total", d, k}, connKey.name),
		fromClient: counter(s, connKey{"received_bytes_total", d, k}, connKey.name),
		toClient:   counter(s, connKey{"sent_bytes_total", d, k}, connKey.name),
		active:     s.gauge(connKey{"connections_active", d, k}),
	}
}

// Open counts one more connection; Close must follow.
func (c Conn) Open() { c.opened.Inc(); c.active.Inc() }

// Close ends what Open began.
func (c Conn) Close() { c.active.Dec() }

// FromClient counts bytes that the client sent.
func (c Conn) FromClient(n int) { c.fromClient.Add(n) }

// ToClient counts bytes that the client was sent.
func (c Conn) ToClient(n int) { c.toClient.Add(n) }

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

func (s *Stats) bounded(service string) string {
	if _, ok := s.services.Load(service); ok {
		return service
	}
	if s.known.Load() >= maxServices {
		return "other"
	}
	if _, loaded := s.services.LoadOrStore(service, struct{}{}); !loaded {
		s.known.Add(1)
	}
	return service
}

func (s *Stats) gauge(k connKey) *metrics.Gauge {
	if g, ok := s.gauges.Load(k); ok {
		return g.(*metrics.Gauge)
	}
	g := s.set.GetOrCreateGauge(k.name(), nil)
	s.gauges.Store(k, g)
	return g
}

func counter[K comparable](s *Stats, key K, name func(K) string) *metrics.Counter {
	if c, ok := s.counters.Load(key); ok {
		return c.(*metrics.Counter)
	}
	c := s.set.GetOrCreateCounter(name(key))
	s.counters.Store(key, c)
	return c
}
