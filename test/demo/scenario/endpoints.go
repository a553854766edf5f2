// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// endpoints watches which pods of a Service are ready, as a proxy's control
// plane does.
type endpoints struct {
	mu    sync.Mutex
	now   []string             // ready by the last event, sorted
	since map[string]time.Time // when the event came that said ready for the first time
}

// resync is longer than any run: nothing is to be learned from it. Without one,
// client-go waits on a channel of its package, which virtual time can't pass.
const resync = 12 * time.Hour

// watchEndpoints follows the Service's EndpointSlices until ctx is done; stop
// joins the watch's goroutines after that.
func watchEndpoints(ctx context.Context, c cluster, service string) (e *endpoints, stop func()) {
	e = &endpoints{since: map[string]time.Time{}}
	factory := informers.NewSharedInformerFactoryWithOptions(c.kube, resync, informers.WithNamespace(c.ns),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = discoveryv1.LabelServiceName + "=" + service
		}))
	slices := factory.Discovery().V1().EndpointSlices()
	update := func(any) {
		// The lister has the event's object already, and objects of a cache are
		// never an error.
		all, _ := slices.Lister().EndpointSlices(c.ns).List(labels.Everything())
		e.update(all, time.Now())
	}
	// Adding a handler fails on an informer that has stopped alone.
	_, _ = slices.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: update, UpdateFunc: func(_, _ any) { update(nil) }, DeleteFunc: update,
	})
	factory.Start(ctx.Done())
	return e, factory.Shutdown
}

func (e *endpoints) update(all []*discoveryv1.EndpointSlice, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = readyPods(all)
	for _, pod := range e.now {
		if _, known := e.since[pod]; !known {
			e.since[pod] = now
		}
	}
}

// readyPods returns the names of the ready pods, sorted, each once.
func readyPods(all []*discoveryv1.EndpointSlice) []string {
	var out []string
	for _, s := range all {
		for _, ep := range s.Endpoints {
			if ep.TargetRef != nil && ep.Conditions.Ready != nil && *ep.Conditions.Ready {
				out = append(out, ep.TargetRef.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (e *endpoints) ready() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.now)
}

func (e *endpoints) readySince() map[string]time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.since)
}

// wait returns the ready pods as soon as there are n.
func (e *endpoints) wait(ctx context.Context, n int) ([]string, error) {
	var now []string
	err := poll(ctx, "wait for ready endpoints", func() (bool, error) {
		now = e.ready()
		return len(now) == n, nil
	})
	return now, err
}
