// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/internal/contract"
)

// metrics count what is done, and tell what the last look has seen.
type metrics struct {
	tests     *prometheus.CounterVec
	collected prometheus.Counter
	loads     *prometheus.CounterVec
	seen      *seen
}

func newMetrics(last func() *contract.NodePrograms) *metrics {
	m := &metrics{
		tests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_ebpf_self_tests_total", Help: "Self-tests of the eBPF programs, which capture a connection in each direction in namespaces of their own, by result (passed, failed).",
		}, []string{"result"}),
		collected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_node_ebpf_collected_total", Help: "Pods whose network namespace was gone, and whose entries were taken out of the maps.",
		}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_ebpf_loads_total", Help: "Attempts to load the eBPF programs, by result: changed (they were loaded, replaced or attached again), unchanged, failed.",
		}, []string{"result"}),
		seen: newSeen(last),
	}
	for _, result := range []string{"passed", "failed"} {
		m.tests.WithLabelValues(result)
	}
	for _, result := range []string{"changed", "unchanged", "failed"} {
		m.loads.WithLabelValues(result)
	}
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.tests, m.collected, m.loads, m.seen}
}

func (m *metrics) tested(err error) {
	if err != nil {
		m.tests.WithLabelValues("failed").Inc()
		return
	}
	m.tests.WithLabelValues("passed").Inc()
}

func (m *metrics) loaded(changed bool, err error) {
	switch {
	case err != nil:
		m.loads.WithLabelValues("failed").Inc()
	case changed:
		m.loads.WithLabelValues("changed").Inc()
	default:
		m.loads.WithLabelValues("unchanged").Inc()
	}
}

// seen collects what the last look has seen; where nothing is loaded, no
// connections.
type seen struct {
	last                                         func() *contract.NodePrograms
	attached, pods, connections, others, passing *prometheus.Desc
}

func newSeen(last func() *contract.NodePrograms) *seen {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("shunt_node_ebpf_"+name, help, labels, nil)
	}
	return &seen{
		last:        last,
		attached:    desc("programs_attached", "eBPF programs that are attached to the node's control group."),
		pods:        desc("pods", "Network namespaces that are captured by eBPF."),
		connections: desc("connections_total", "Connections by what became of them; redirect/ebpf/README.md explains each. As of the last minute.", "event"),
		others:      desc("others", "eBPF programs of somebody else's at the same hooks."),
		passing:     desc("self_test_passed", "1 where the last self-test passed."),
	}
}

// Describe implements prometheus.Collector.
func (s *seen) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.attached, s.pods, s.connections, s.others, s.passing} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *seen) Collect(out chan<- prometheus.Metric) {
	now := s.last()
	if now == nil {
		now = &contract.NodePrograms{}
	}
	gauge := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	gauge(s.attached, now.Attached())
	gauge(s.pods, now.Pods)
	gauge(s.others, len(now.Others))
	passed := 0
	if now.SelfTest == contract.NodePassed {
		passed = 1
	}
	gauge(s.passing, passed)
	for event, n := range now.Counters {
		out <- prometheus.MustNewConstMetric(s.connections, prometheus.CounterValue, float64(n), event)
	}
}
