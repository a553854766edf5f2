// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/events"
)

// balanceRefused is the reason of an Event on a Service that goes on through the
// proxy, though it asks to be balanced at connect.
const balanceRefused = "BalanceRefused"

// Refusals tells of Services that ask in vain to be balanced at connect: of each
// once, in an Event and in the log, and of all that stand in a metric. It is not
// safe for concurrent use; the informer of Services calls it.
type Refusals struct {
	record   func(events.Happening)
	log      *slog.Logger
	refused  *prometheus.GaugeVec
	standing map[model.Key][]refusal
}

// NewRefusals returns what tells by record, which must not block.
func NewRefusals(record func(events.Happening), log *slog.Logger) *Refusals {
	r := &Refusals{
		record: record, log: log,
		refused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shunt_discovery_balance_refused",
			Help: "Services, or ports of them, that ask to be balanced at connect and are not, by reason.",
		}, []string{"reason"}),
		standing: map[model.Key][]refusal{},
	}
	for _, reason := range refusalReasons() {
		r.refused.WithLabelValues(reason)
	}
	return r
}

// Collectors are the metrics.
func (r *Refusals) Collectors() []prometheus.Collector { return []prometheus.Collector{r.refused} }

// set takes what is refused to a Service now, and tells what is new of it.
func (r *Refusals) set(o *corev1.Service, now []refusal) {
	key := model.Key{Namespace: o.Namespace, Name: o.Name}
	before := r.standing[key]
	r.forget(key)
	if len(now) > 0 {
		r.standing[key] = now
	}
	for _, one := range now {
		r.refused.WithLabelValues(one.reason).Inc()
		if !slices.Contains(before, one) {
			r.tell(o, one)
		}
	}
}

// forget takes a Service that is gone.
func (r *Refusals) forget(key model.Key) {
	for _, one := range r.standing[key] {
		r.refused.WithLabelValues(one.reason).Dec()
	}
	delete(r.standing, key)
}

func (r *Refusals) tell(o *corev1.Service, one refusal) {
	r.log.Warn("refuse to balance at connect", "namespace", o.Namespace, "service", o.Name, "why", one.message)
	r.record(events.Happening{
		Object: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Service", Namespace: o.Namespace, Name: o.Name, UID: o.UID,
		},
		Type:    corev1.EventTypeWarning,
		Reason:  balanceRefused,
		Message: one.message + "; its connections go through the proxy, as without the annotation",
	})
}
