// SPDX-License-Identifier: Apache-2.0

package socket

import "github.com/prometheus/client_golang/prometheus"

// What became of a question, as the metric has it.
const (
	answerFound   = "found"
	answerNone    = "no-pod"
	answerUnknown = "unknown"
	answerRefused = "refused"
)

// Metrics count what the plugin asks and says.
type Metrics struct {
	lines   *prometheus.CounterVec
	lost    prometheus.Counter
	answers *prometheus.CounterVec
}

// NewMetrics returns metrics that nothing has been counted in.
func NewMetrics() *Metrics {
	m := &Metrics{
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_plugin_log_lines_total", Help: "Lines that the plugin has logged through the agent, by level.",
		}, []string{"level"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_node_plugin_log_cut_total", Help: "Requests of the plugin's log that were cut since they were too large.",
		}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_pod_answers_total", Help: "Questions of the plugin about a pod, by the answer (found, no-pod, unknown: it could not be read, refused). There are none where the runtime hands over annotations.",
		}, []string{"answer"}),
	}
	for _, a := range []string{answerFound, answerNone, answerUnknown, answerRefused} {
		m.answers.WithLabelValues(a)
	}
	return m
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.lines, m.lost, m.answers}
}
