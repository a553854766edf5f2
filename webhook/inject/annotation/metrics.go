// SPDX-License-Identifier: Apache-2.0

package annotation

import "github.com/shuntmesh/shunt/internal/contract"

func (s *Settings) metricsRows() []row {
	return []row{
		{
			contract.AnnotationMergeMetrics,
			[]string{"prometheus.istio.io/merge-metrics"},
			"`false`", "`true`, `false`",
			"`true`: the proxy serves its metrics and the application's in one answer, and the pod's `prometheus.io/scrape`, `port` and `path` are set to it. " +
				"What they said is where the application is asked, over loopback; `prometheus.io/scrape: \"false\"` leaves a pod alone. " +
				"`false`: scrapers reach the application as before, and the proxy at port 15090 (docs/adr/0007-metrics.md).",
			value(&s.MergeMetrics, boolean),
		},
	}
}
