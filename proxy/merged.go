// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/http"

	"github.com/shuntmesh/shunt/proxy/appmetrics"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// merged serves the application's metrics among the proxy's own; nil when nobody
// asked for it.
func (p *proxy) merged() http.Handler {
	o := p.options
	if o.MergedListen == "" {
		return nil
	}
	h := appmetrics.New(appmetrics.Options{
		App:      o.AppMetrics,
		Timeout:  o.AppMetricsTime,
		MaxBytes: o.MaxAppMetrics,
		Own:      o.Stats.WriteOwn,
		Asked:    p.askedApp,
		Log:      o.Log,
	})
	if o.AppMetrics.Port != 0 {
		o.Stats.Gauge("app_metrics_up", h.Up)
	}
	return h
}

func (p *proxy) askedApp(result appmetrics.Result) {
	p.stats.AppMetrics(string(result))
	switch result {
	case appmetrics.TooLarge:
		p.stats.LimitHit(stats.Inbound, stats.LimitAppMetrics)
	case appmetrics.Timeout:
		p.stats.LimitHit(stats.Inbound, stats.LimitAppMetricsTime)
	default:
	}
}
