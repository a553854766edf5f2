// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
)

// Metrics are the figures of the ADS server.
type Metrics struct {
	streams     prometheus.Gauge
	opened      prometheus.Counter
	refused     *prometheus.CounterVec
	pushes      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	nacks       *prometheus.CounterVec
	resources   *prometheus.GaugeVec
	eventToPush prometheus.Histogram
}

// NewMetrics registers the figures.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	perType := []string{"type"}
	m := &Metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shunt_discovery_streams", Help: "ADS streams that are open.",
		}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_discovery_streams_opened_total", Help: "ADS streams opened.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_discovery_streams_refused_total", Help: "ADS streams refused, by reason.",
		}, []string{"reason"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_discovery_pushes_total", Help: "Responses sent, by type.",
		}, perType),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_discovery_pushed_bytes_total", Help: "Bytes of responses sent, by type.",
		}, perType),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_discovery_nacks_total", Help: "Responses that a proxy refused, by type.",
		}, perType),
		resources: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shunt_discovery_resources", Help: "Resources held, by type.",
		}, perType),
		eventToPush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "shunt_discovery_event_to_push_seconds",
			Help:    "Time from the first event behind a response to its sending.",
			Buckets: []float64{.001, .0025, .005, .01, .015, .02, .03, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	reg.MustRegister(m.streams, m.opened, m.refused, m.pushes, m.bytes, m.nacks, m.resources, m.eventToPush)
	return m
}

func (m *Metrics) setResources(typ string, n int) {
	m.resources.WithLabelValues(short(typ)).Set(float64(n))
}

func (m *Metrics) pushed(r *discoveryv3.DeltaDiscoveryResponse, since time.Time) {
	typ := short(r.GetTypeUrl())
	m.pushes.WithLabelValues(typ).Inc()
	m.bytes.WithLabelValues(typ).Add(float64(proto.Size(r)))
	if !since.IsZero() {
		m.eventToPush.Observe(time.Since(since).Seconds())
	}
}

// short is the last word of a type URL: "Cluster".
func short(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }
