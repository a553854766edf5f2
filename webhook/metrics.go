// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics has a registry of its own, so that nothing is global and a test can
// run two servers.
type metrics struct {
	registry  *prometheus.Registry
	injected  prometheus.Counter
	skipped   *prometheus.CounterVec
	refused   prometheus.Counter
	malformed prometheus.Counter
	duration  prometheus.Histogram
}

func newMetrics(expiry func() time.Time) *metrics {
	m := &metrics{
		registry:  prometheus.NewRegistry(),
		injected:  counter("injected_total", "Pods that got the proxy."),
		refused:   counter("refused_total", "Pods that were refused, with a message to their author."),
		malformed: counter("malformed_requests_total", "Requests that were no AdmissionReview v1."),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_webhook_skipped_total", Help: "Objects that were left alone, by reason.",
		}, []string{"reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shunt_webhook_review_duration_seconds", Help: "Time from the request's header to the end of the answer.",
			// 50 us to 0.8 s: a review takes some 100 us, the API server waits 5 s.
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 15),
		}),
	}
	m.registry.MustRegister(m.injected, m.refused, m.malformed, m.skipped, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "shunt_webhook_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate expires, as Unix time; 0 while there is none.",
		}, func() float64 { return unix(expiry()) }))
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "shunt_webhook_" + name, Help: help})
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func (m *metrics) record(a Answer, took time.Duration) {
	m.duration.Observe(took.Seconds())
	switch a.Verdict {
	case Injected:
		m.injected.Inc()
	case Refused:
		m.refused.Inc()
	case Skipped:
		m.skipped.WithLabelValues(string(a.Reason)).Inc()
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
