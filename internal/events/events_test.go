// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/internal/events"
)

// api is an API server that takes Events. It stores copies, and gives out
// copies.
type api struct {
	mu      sync.Mutex
	stored  map[string]*corev1.Event
	calls   int
	err     error
	blocked chan struct{} // when set, calls wait for it to be closed
	uid     func(context.Context, corev1.ObjectReference) types.UID
}

func (e *api) Create(_ context.Context, event *corev1.Event, _ metav1.CreateOptions) (*corev1.Event, error) {
	if e.blocked != nil {
		<-e.blocked
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.err != nil {
		return nil, e.err
	}
	e.stored[event.Name] = event.DeepCopy()
	return event, nil
}

func (e *api) Patch(_ context.Context, name string, pt types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.err != nil {
		return nil, e.err
	}
	event, known := e.stored[name]
	if !known || pt != types.MergePatchType {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	return event.DeepCopy(), json.Unmarshal(data, event)
}

func (e *api) only(t *testing.T) *corev1.Event {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.stored) != 1 {
		t.Fatalf("%d Events, want 1: %v", len(e.stored), e.stored)
	}
	for _, event := range e.stored {
		return event.DeepCopy()
	}
	return nil
}

func (e *api) called() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (e *api) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.stored)
}

func (e *api) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.stored)
}

func startRecorder(t *testing.T, e *api) (r *events.Recorder, stop func()) {
	t.Helper()
	e.stored = map[string]*corev1.Event{}
	r = events.New(events.Options{
		Component: "shunt-webhook", Metrics: "shunt_webhook",
		Writer: func(string) events.Writer { return e }, UID: e.uid, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func happening(owner string) events.Happening {
	return events.Happening{
		Object: corev1.ObjectReference{Kind: "ReplicaSet", APIVersion: "apps/v1", Namespace: "shop", Name: owner, UID: types.UID("uid-" + owner)},
		Type:   corev1.EventTypeNormal, Reason: "Injected", Message: "because",
	}
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

func TestEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &api{}
		r, stop := startRecorder(t, e)
		defer stop()
		for range 100 {
			r.Record(happening("web"))
		}
		synctest.Wait()
		first := e.only(t)
		if first.Count != 1 || first.InvolvedObject.UID != "uid-web" || first.Namespace != "shop" || !strings.HasPrefix(first.Name, "web.") || first.Reason != "Injected" || first.ReportingController != "shunt-webhook" || first.Message != "because" {
			t.Errorf("first Event %+v", first)
		}
		pass(10 * time.Second)
		if got := e.only(t); got.Count != 100 || e.called() != 2 {
			t.Errorf("count %d after %d calls, want 100 after 2", got.Count, e.called())
		}
		pass(time.Minute)
		if e.called() != 2 {
			t.Errorf("%d calls in a quiet minute", e.called()-2)
		}
		pass(time.Hour) // forgotten: the next is news
		r.Record(happening("web"))
		synctest.Wait()
		if e.count() != 2 {
			t.Errorf("%d Events, want a second one", e.count())
		}
	})
}

func TestEventThatExpiredIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &api{}
		r, stop := startRecorder(t, e)
		defer stop()
		r.Record(happening("web"))
		synctest.Wait()
		e.expire() // its time to live is over
		r.Record(happening("web"))
		pass(10 * time.Second)
		if got := e.only(t); got.Count != 2 {
			t.Errorf("count %d, want 2", got.Count)
		}
	})
}

// The API server hangs: nobody waits for it, memory is bounded, and what is
// lost is counted.
func TestFullQueueIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &api{blocked: make(chan struct{})}
		r, stop := startRecorder(t, e)
		start := time.Now()
		r.Record(happening("first")) // its call hangs
		synctest.Wait()
		for i := range 600 {
			r.Record(happening(fmt.Sprint(i)))
		}
		if time.Since(start) != 0 {
			t.Error("Record has waited")
		}
		if got := metric(t, "shunt_webhook_events_lost_total", r.Collectors()); got != 600-512 {
			t.Errorf("%v lost, want 88", got)
		}
		close(e.blocked)
		stop()
		if got := metric(t, "shunt_webhook_events_written_total", r.Collectors()); got != 513 || e.count() != 513 {
			t.Errorf("%v written, %d stored, want 513: what is queued at shutdown is written", got, e.count())
		}
	})
}

func TestEventThatIsNotTakenIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &api{err: errors.New("forbidden")}
		r, stop := startRecorder(t, e)
		defer stop()
		r.Record(happening("web"))
		r.Record(happening("web"))
		pass(10 * time.Second)
		if got := metric(t, "shunt_webhook_events_lost_total", r.Collectors()); got != 2 {
			t.Errorf("%v lost, want 2", got)
		}
		if e.called() > 2 {
			t.Errorf("%d calls for what was refused", e.called())
		}
	})
}

func TestNamesFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &api{}
		r, stop := startRecorder(t, e)
		defer stop()
		r.Record(happening(strings.Repeat("x", 253)))
		synctest.Wait()
		if name := e.only(t).Name; len(name) != 253 {
			t.Errorf("name of %d bytes, at most 253 are allowed", len(name))
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
