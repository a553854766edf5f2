// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/webhook/operate"
)

// pods is an API server's pods. It answers in pages, as the real one does.
type pods struct {
	mu    sync.Mutex
	items map[string][]corev1.Pod // by namespace
	lists []metav1.ListOptions
	err   error
}

type podsOf struct {
	*pods
	namespace string
}

func (p podsOf) List(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists = append(p.lists, o)
	if p.err != nil {
		return nil, p.err
	}
	var from int
	if o.Continue != "" {
		if _, err := fmt.Sscan(o.Continue, &from); err != nil {
			return nil, err
		}
	}
	all := p.items[p.namespace]
	to := min(from+int(o.Limit), len(all))
	page := &corev1.PodList{Items: all[from:to]}
	if to < len(all) {
		page.Continue = fmt.Sprint(to)
	}
	return page, nil
}

func (p *pods) change(to func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to()
}

func (p *pods) add(namespace string, n int, healthy bool) {
	for range n {
		name := fmt.Sprintf("pod-%d", len(p.items[namespace]))
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "uid"}}
		if healthy {
			pod.Annotations = map[string]string{contract.AnnotationStatus: "{}"}
		}
		p.items[namespace] = append(p.items[namespace], pod)
	}
}

// guarded is a cluster whose pods some replicas guard.
type guarded struct {
	*testing.T
	*fake.Clientset
	pods     *pods
	mu       sync.Mutex
	recorded []events.Happening
}

func newGuarded(t *testing.T) *guarded {
	return &guarded{T: t, Clientset: fake.NewClientset(), pods: &pods{items: map[string][]corev1.Pod{}}}
}

func (g *guarded) replica(ctx context.Context, name string) *operate.Guard {
	guard := operate.NewGuard(operate.GuardOptions{
		Me:         name,
		Leases:     g.CoordinationV1().Leases(contract.SystemNamespace),
		Namespaces: func() []string { return []string{"a", "b"} },
		Pods:       func(namespace string) operate.PodLister { return podsOf{g.pods, namespace} },
		Lacks: func(_ context.Context, pod *corev1.Pod) string {
			if pod.Annotations[contract.AnnotationStatus] == "" {
				return "because"
			}
			return ""
		},
		Record: func(h events.Happening) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.recorded = append(g.recorded, h)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	go func() {
		if err := guard.Run(ctx); err != nil {
			g.Errorf("Run: %v", err)
		}
	}()
	return guard
}

func report(t *testing.T, g *operate.Guard) operate.Report {
	t.Helper()
	w := httptest.NewRecorder()
	g.ServeHTTP(w, nil)
	var r operate.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGuardFindsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		c.pods.add("a", 250, true) // three pages
		c.pods.add("a", 1, false)
		c.pods.add("b", 2, false)
		c.pods.add("elsewhere", 3, false)
		g := c.replica(t.Context(), "r1")
		pass(8 * time.Minute)
		got := report(t, g)
		if got.Holder != "r1" || got.Total != 3 || len(got.Pods) != 3 || got.At.IsZero() {
			t.Fatalf("report %+v", got)
		}
		if want := (operate.Finding{Namespace: "a", Pod: "pod-250", Why: "because"}); got.Pods[0] != want {
			t.Errorf("finding %+v, want %+v", got.Pods[0], want)
		}
		if n := metric(t, "shunt_webhook_pods_without_proxy", g.Collectors()); n != 3 {
			t.Errorf("metric says %v", n)
		}
		h := c.recorded[0]
		if h.Object.Kind != "Pod" || h.Object.UID != "uid" || h.Type != corev1.EventTypeWarning || h.Reason != "ProxyMissing" || h.Message != "because" {
			t.Errorf("Event %+v", h)
		}
		for _, o := range c.pods.lists {
			if o.Limit != 100 || o.LabelSelector != "shunt.dev/inject!=disabled" || o.FieldSelector == "" {
				t.Fatalf("list of pods without bounds: %+v", o)
			}
		}
		c.pods.change(func() { clear(c.pods.items) }) // all were restarted
		pass(8 * time.Minute)
		if got := report(t, g); got.Total != 0 || metric(t, "shunt_webhook_pods_without_proxy", g.Collectors()) != 0 {
			t.Errorf("report after the repair %+v", got)
		}
	})
}

func TestGuardIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		c.pods.add("a", 1000, false)
		g := c.replica(t.Context(), "r1")
		pass(8 * time.Minute)
		got := report(t, g)
		rounds := len(c.pods.lists) / 11 // ten pages of a, one of b
		if got.Total != 1000 || len(got.Pods) != 200 || len(c.recorded) != 200*rounds || rounds == 0 {
			t.Errorf("%d found, %d listed, %d Events in %d rounds; want 1000, 200 and 200 a round", got.Total, len(got.Pods), len(c.recorded), rounds)
		}
	})
}

func TestOneReplicaGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		c.pods.add("a", 1, false)
		ctx, die := context.WithCancel(t.Context())
		guards := map[string]*operate.Guard{"r1": c.replica(ctx, "r1"), "r2": c.replica(ctx, "r2"), "r3": c.replica(ctx, "r3")}
		pass(time.Hour)
		holder := report(t, guards["r1"]).Holder
		for name, g := range guards {
			want := 0.0
			if name == holder {
				want = 1
			}
			if got := metric(t, "shunt_webhook_guard", g.Collectors()); got != want || report(t, g).Holder != holder {
				t.Errorf("%s: guards %v and names %q, want %v and %q", name, got, report(t, g).Holder, want, holder)
			}
		}
		rounds := len(c.pods.lists) / 2
		if rounds < 8 || rounds > 24 {
			t.Errorf("%d rounds in an hour, want one each 2.5 to 7.5 minutes", rounds)
		}
		die()
		pass(time.Second)
		late := c.replica(t.Context(), "late") // what is released needs no waiting
		pass(time.Minute)
		if got := report(t, late); got.Holder != "late" || got.Total != 1 {
			t.Errorf("report of the successor %+v", got)
		}
	})
}

// A replica that was killed releases nothing: its Lease ends by itself.
func TestGuardSucceedsTheKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		if _, err := c.CoordinationV1().Leases(contract.SystemNamespace).Create(t.Context(), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "shunt-webhook-guard"},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: new("killed"), LeaseDurationSeconds: new(int32(750)), RenewTime: new(metav1.NowMicro()),
			},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		g := c.replica(t.Context(), "r1")
		pass(12 * time.Minute)
		if got := report(t, g).Holder; got != "killed" {
			t.Errorf("%q holds before the Lease has ended", got)
		}
		pass(10 * time.Minute)
		if got := report(t, g).Holder; got != "r1" {
			t.Errorf("%q holds after the Lease has ended", got)
		}
	})
}

// Two replicas find no holder at the same time: the API server takes one.
func TestGuardLosesTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		c.PrependReactor("create", "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
			rivals := a.(k8stesting.CreateAction).GetObject().(*coordinationv1.Lease).DeepCopy()
			rivals.Spec.HolderIdentity = new("rival")
			return false, nil, c.Tracker().Create(a.GetResource(), rivals, contract.SystemNamespace)
		})
		g := c.replica(t.Context(), "r1")
		for range 16 {
			pass(30 * time.Second) // the second round reads the rival's name
			if got := report(t, g).Holder; got != "" && got != "another replica" && got != "rival" {
				t.Fatalf("%q holds", got)
			}
		}
		if report(t, g).Holder == "" || len(c.pods.lists) > 0 {
			t.Errorf("holder %q, %d lists of pods by the one that lost", report(t, g).Holder, len(c.pods.lists))
		}
	})
}

func TestGuardTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newGuarded(t)
		c.pods.add("a", 1, false)
		c.pods.change(func() { c.pods.err = errors.New("forbidden") })
		g := c.replica(t.Context(), "r1")
		pass(8 * time.Minute)
		if got := report(t, g); !got.At.IsZero() {
			t.Errorf("report of a round that failed: %+v", got)
		}
		c.pods.change(func() { c.pods.err = nil })
		pass(8 * time.Minute)
		if got := report(t, g); got.Total != 1 {
			t.Errorf("report %+v", got)
		}
	})
}

// metric sums the values of one counter over its labels.
func metric(t *testing.T, name string, collectors []prometheus.Collector) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		found = true
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}
