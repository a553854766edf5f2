// SPDX-License-Identifier: Apache-2.0

package services

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// Metrics tell of the node's table; one set serves all Feeds of a process, one
// after the other.
type Metrics struct {
	connected  prometheus.Gauge
	services   prometheus.Gauge
	endpoints  prometheus.Gauge
	refused    prometheus.Gauge
	refusals   prometheus.Counter
	lastChange prometheus.Gauge
	writes     *prometheus.CounterVec
	destroyed  prometheus.Counter
	stayed     prometheus.Counter
}

// Results of a write.
const (
	written = "written"
	failed  = "failed"
)

// NewMetrics returns metrics that nothing has been counted in.
func NewMetrics() *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "shunt_node_balance_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "shunt_node_balance_" + name, Help: help})
	}
	m := &Metrics{
		connected:  gauge("connected", "1 while discovery tells the node what is balanced at connect; without it the last table stays."),
		services:   gauge("services", "Addresses with a port that the node balances at connect."),
		endpoints:  gauge("endpoints", "Endpoints of those, each once for each address."),
		refused:    gauge("refused", "Ports of Services that discovery names and the node can't balance: the log says why, and the proxy balances them."),
		refusals:   counter("refusals_total", "Responses of discovery that were not used whole."),
		lastChange: gauge("last_change_timestamp_seconds", "When the table was last made another, as Unix time; 0 is not yet."),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_balance_writes_total", Help: "Tables that were handed to the kernel, by whether it took them (written, failed).",
		}, []string{"result"}),
		destroyed: counter("destroyed_connections_total", "Connections that were ended, since their endpoint was gone."),
		stayed:    counter("stayed_connections_total", "Connections that were to be ended, and can't be in this kernel."),
	}
	m.writes.WithLabelValues(written)
	m.writes.WithLabelValues(failed)
	return m
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.connected, m.services, m.endpoints, m.refused, m.refusals, m.lastChange, m.writes, m.destroyed, m.stayed}
}

// wrote tells of a table that was handed to the kernel.
func (m *Metrics) wrote(s size, refused int, done ebpf.Balanced, err error, now time.Time) {
	m.refused.Set(float64(refused))
	m.destroyed.Add(float64(done.Destroyed))
	m.stayed.Add(float64(done.Stayed))
	if err != nil {
		m.writes.WithLabelValues(failed).Inc()
	} else {
		m.writes.WithLabelValues(written).Inc()
	}
	if err != nil && done.Changed == 0 {
		return
	}
	m.services.Set(float64(s.services))
	m.endpoints.Set(float64(s.endpoints))
	if done.Changed > 0 {
		m.lastChange.Set(float64(now.UnixMilli()) / 1000)
	}
}
