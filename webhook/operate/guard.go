// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/task"
)

// GuardPath is where the control listener serves a Guard's report.
const GuardPath = "/pods-without-proxy"

const (
	// firstRound is the time to the first round: after an installation or an
	// upgrade people look.
	firstRound = 30 * time.Second

	// guardPeriod is the time from one round to the next.
	guardPeriod = 5 * time.Minute

	// guardLife is how long a replica that has stopped keeps the others from
	// taking over: two rounds, and half a one for a slow round.
	guardLife = guardPeriod * 5 / 2

	// podPage bounds the pods in memory at a time; one is some 10 KiB.
	podPage = 100

	// maxFindings bounds the list and the Events of a round. The number of pods
	// is exact.
	maxFindings = 200
)

// PodLister is what is asked of the API server about pods of one namespace.
type PodLister interface {
	List(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error)
}

// GuardOptions is what a Guard is made of. All fields are needed.
type GuardOptions struct {
	Me         string          // the name of this replica
	Leases     Leases          // of the system namespace
	Namespaces func() []string // that are labelled to be injected
	Pods       func(namespace string) PodLister
	// Lacks says why the pod should have a proxy and has none, "" when all is
	// well.
	Lacks  func(ctx context.Context, pod *corev1.Pod) string
	Record func(events.Happening)
	Log    *slog.Logger
}

// Finding is a pod without its proxy.
type Finding struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Why       string `json:"why"`
}

// Report is what a round has found.
type Report struct {
	Holder string    `json:"holder"`         // the replica whose guard reports
	At     time.Time `json:"at,omitzero"`    // when its last round ended
	Total  int       `json:"total"`          // pods without a proxy
	Pods   []Finding `json:"pods,omitempty"` // the first maxFindings of them
}

// Guard looks for pods of labelled namespaces that have no proxy: those that
// are older than the label, or that were created while the registration was
// away. It tells of them, and changes nothing.
type Guard struct {
	options GuardOptions
	report  atomic.Pointer[Report]
	missing prometheus.Gauge
	holds   prometheus.Gauge
}

// NewGuard returns a guard; Run makes its rounds.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{
		options: o,
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shunt_webhook_pods_without_proxy", Help: "Pods of labelled namespaces that have no proxy and did not ask to have none; 0 in the replicas that don't guard.",
		}),
		holds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shunt_webhook_guard", Help: "1 in the replica that looks for pods without a proxy.",
		}),
	}
	g.report.Store(&Report{})
	return g
}

// Collectors are the metrics.
func (g *Guard) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.missing, g.holds}
}

// ServeHTTP answers with the last Report as JSON.
func (g *Guard) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(g.report.Load()) // the client is gone
}

// Run makes a round some guardPeriod after the other until ctx ends. Errors are logged and the
// next round tries again.
func (g *Guard) Run(ctx context.Context) error {
	// Replicas that start together take turns.
	for pause := firstRound/2 + rand.N(firstRound/2); task.Sleep(ctx, pause); pause = guardPeriod/2 + rand.N(guardPeriod) {
		if err := g.round(ctx); err != nil {
			g.options.Log.Warn("look for pods without a proxy", "err", err)
		}
	}
	if g.report.Load().Holder == g.options.Me {
		if err := release(context.WithoutCancel(ctx), g.options.Leases, g.options.Me); err != nil {
			g.options.Log.Warn("leave the guard to another replica", "err", err)
		}
	}
	return nil
}

func (g *Guard) round(ctx context.Context) error {
	holder, err := hold(ctx, g.options.Leases, g.options.Me, guardLife, time.Now())
	if err != nil {
		return err
	}
	if holder != g.options.Me {
		g.publish(&Report{Holder: holder})
		g.holds.Set(0)
		return nil
	}
	g.holds.Set(1)
	report := &Report{Holder: holder}
	for _, namespace := range g.options.Namespaces() {
		if err := g.look(ctx, namespace, report); err != nil {
			return err
		}
	}
	report.At = time.Now()
	g.publish(report)
	return nil
}

func (g *Guard) publish(r *Report) {
	g.report.Store(r)
	g.missing.Set(float64(r.Total))
	if r.Total > 0 {
		g.options.Log.Warn("pods of labelled namespaces have no proxy (restart them)", "pods", r.Total, "list", GuardPath)
	}
}

// look goes through the pods of a namespace page by page.
func (g *Guard) look(ctx context.Context, namespace string, r *Report) error {
	next := ""
	for {
		page, err := g.page(ctx, namespace, next)
		if err != nil {
			return fmt.Errorf("list pods of %s: %w", namespace, err)
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if why := g.options.Lacks(ctx, pod); why != "" {
				g.tell(pod, why, r)
			}
		}
		if next = page.Continue; next == "" {
			return nil
		}
	}
}

func (g *Guard) page(ctx context.Context, namespace, next string) (*corev1.PodList, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return g.options.Pods(namespace).List(ctx, metav1.ListOptions{
		Limit: podPage, Continue: next,
		FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", // these move no bytes
		LabelSelector: contract.LabelInject + "!=" + contract.InjectDisabled,
	})
}

func (g *Guard) tell(pod *corev1.Pod, why string, r *Report) {
	r.Total++
	if len(r.Pods) >= maxFindings {
		return
	}
	r.Pods = append(r.Pods, Finding{Namespace: pod.Namespace, Pod: pod.Name, Why: why})
	g.options.Record(events.Happening{
		Object: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Type:    corev1.EventTypeWarning,
		Reason:  "ProxyMissing",
		Message: why,
	})
}
