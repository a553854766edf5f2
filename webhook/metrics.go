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
	reviews   *prometheus.CounterVec
	malformed prometheus.Counter
	duration  prometheus.Histogram
}

func newMetrics(expiry func() time.Time, others []prometheus.Collector) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_webhook_reviews_total",
			Help: "Objects that were reviewed, by what became of them (injected, skipped, refused) and why. Dry runs are not counted.",
		}, []string{"verdict", "reason"}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_webhook_malformed_requests_total",
			Help: "Requests that were no AdmissionReview v1.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shunt_webhook_review_duration_seconds", Help: "Time from the request's header to the end of the answer.",
			// 50 us to 0.8 s: a review takes some 100 us, the API server waits 5 s.
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 15),
		}),
	}
	m.registry.MustRegister(others...)
	m.registry.MustRegister(m.malformed, m.reviews, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "shunt_webhook_certificate_expiry_timestamp_seconds",
			Help: "When the serving certificate expires, as Unix time; 0 while there is none.",
		}, func() float64 { return unix(expiry()) }))
	return m
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

func (m *metrics) record(a Answer, took time.Duration) {
	m.duration.Observe(took.Seconds())
	m.reviews.WithLabelValues(string(a.Verdict), string(a.Reason)).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
