// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// newRegistry has the metrics of all parts, and those that tell of the state.
func newRegistry(s *state, all []backends.Backend, parts ...[]prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(slices.Concat(parts...)...)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	is := func(name, help string, labels prometheus.Labels, holds func(contract.Node) bool) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			if holds(s.get()) {
				return 1
			}
			return 0
		}))
	}
	for _, b := range all {
		is("shunt_node_backend", "1 for the backend that captures the node's pods; all are 0 while none was chosen.",
			prometheus.Labels{"backend": b.Name}, func(n contract.Node) bool { return n.Backend == b.Name })
	}
	is("shunt_node_backend_stands_in", "1 while the node's backend stands in for the one that was asked for and doesn't work here.", nil,
		func(n contract.Node) bool { return n.Preferred != "" })
	is("shunt_node_plugin_installed", "1 while the CNI plugin is in place and chained.", nil,
		func(n contract.Node) bool { return n.Plugin == contract.NodeInstalled })
	is("shunt_node_annotations_handed_over", "1 where the runtime tells the plugin about a pod, 0 where the plugin asks the agent, or may have to.", nil,
		func(n contract.Node) bool { return n.Annotations == contract.NodeHandedOver })
	return r
}
