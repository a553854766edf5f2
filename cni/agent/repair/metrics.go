// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a repair has failed, as the metric has it.
const (
	failurePlan      = "plan"      // what the pod says can't be read
	failureNamespace = "namespace" // it can't be entered
	failureRules     = "rules"     // the kernel refuses them
)

// failure is an error of one of these kinds.
type failure struct {
	why string
	err error
}

// Error is that of what has happened.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns what has happened.
func (f *failure) Unwrap() error { return f.err }

func reasonOf(err error) string {
	if f, is := errors.AsType[*failure](err); is {
		return f.why
	}
	return failureRules
}

// Metrics count what Repairers do.
type Metrics struct {
	repairs  *prometheus.CounterVec
	failures *prometheus.CounterVec
	pods     *prometheus.GaugeVec
	look     prometheus.Histogram
}

// NewMetrics returns metrics that nothing has been counted in.
func NewMetrics() *Metrics {
	m := &Metrics{
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_repairs_total", Help: "Pods that were not captured as planned, by whether they are now (repaired, failed). Each attempt counts.",
		}, []string{"result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_repair_failures_total", Help: "Repairs that failed, by why: plan (what the pod says can't be read), namespace (it can't be entered), rules (the kernel refuses them).",
		}, []string{"reason"}),
		pods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shunt_node_pods", Help: "Pods that the node has to capture, by whether their network namespace is known (found, searching).",
		}, []string{"namespace"}),
		look: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shunt_node_look_duration_seconds", Help: "Time that it takes to look at all pods, which is done twice a second.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 4, 7), // 0.1 ms to 0.4 s
		}),
	}
	for _, result := range []string{"repaired", "failed"} {
		m.repairs.WithLabelValues(result)
	}
	for _, why := range []string{failurePlan, failureNamespace, failureRules} {
		m.failures.WithLabelValues(why)
	}
	return m
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.repairs, m.failures, m.pods, m.look}
}

func (m *Metrics) looked(took time.Duration, pods, searching int) {
	m.look.Observe(took.Seconds())
	m.pods.WithLabelValues("found").Set(float64(pods - searching))
	m.pods.WithLabelValues("searching").Set(float64(searching))
}
