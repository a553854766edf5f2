// SPDX-License-Identifier: Apache-2.0

// Package kube watches Services and EndpointSlices of a Kubernetes cluster and
// turns them into facts of the model. It is the only place with informers. It
// needs list and watch on both kinds, in all namespaces.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	typeddiscoveryv1 "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/contract"
)

// Sink takes the facts. Its methods are called by several goroutines.
type Sink interface {
	SetService(*model.Service)
	DeleteService(model.Key)
	SetSlice(*model.Slice)
	DeleteSlice(model.Key)
}

// Source watches a cluster.
type Source struct {
	services cache.Controller
	slices   cache.Controller
	synced   chan struct{}
}

// Options say how a cluster is read. All fields are needed.
type Options struct {
	ClusterDomain string // ends the services' host names
	Refusals      *Refusals
	Log           *slog.Logger
}

// NewSource prepares to watch all namespaces.
func NewSource(core typedcorev1.ServicesGetter, discovery typeddiscoveryv1.EndpointSlicesGetter, o Options, sink Sink) *Source {
	h := handler{Options: o, sink: sink}
	svc, eps := core.Services(metav1.NamespaceAll), discovery.EndpointSlices(metav1.NamespaceAll)
	s := &Source{synced: make(chan struct{})}
	_, s.services = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: listWatch(svc.List, svc.Watch),
		ObjectType:    &corev1.Service{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: h.set, UpdateFunc: h.update, DeleteFunc: h.remove},
		Transform:     slim,
	})
	_, s.slices = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: listWatch(eps.List, eps.Watch),
		ObjectType:    &discoveryv1.EndpointSlice{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: h.set, UpdateFunc: h.update, DeleteFunc: h.remove},
		Transform:     slim,
	})
	return s
}

func listWatch[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watchFrom func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, o)
		},
		WatchFuncWithContext: watchFrom,
	}
}

// Run watches until ctx ends. While the API server is away it tries again, and
// what is known stays.
func (s *Source) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.services.RunWithContext(ctx) })
	wg.Go(func() { s.slices.RunWithContext(ctx) })
	if err := s.waitForSync(ctx); err != nil {
		return nil // ctx ended
	}
	close(s.synced)
	<-ctx.Done()
	return nil
}

// Synced is closed when the sink has got all that was there at the start.
func (s *Source) Synced() <-chan struct{} { return s.synced }

// waitForSync polls as client-go does, but faster: at a restart proxies wait.
func (s *Source) waitForSync(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.services.HasSynced() || !s.slices.HasSynced() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// handler hands objects on as facts.
type handler struct {
	Options
	sink Sink
}

func (h handler) update(_, obj any) { h.set(obj) }

func (h handler) set(obj any) {
	switch o := obj.(type) {
	case *corev1.Service:
		h.sink.SetService(h.service(o))
	case *discoveryv1.EndpointSlice:
		s, err := slice(o)
		if err != nil {
			h.Log.Warn("use EndpointSlice in part", "namespace", o.Namespace, "name", o.Name, "err", err)
		}
		h.sink.SetSlice(s)
	}
}

func (h handler) service(o *corev1.Service) *model.Service {
	s, err := service(o, h.ClusterDomain)
	if err != nil {
		h.Log.Warn("use Service in part", "namespace", o.Namespace, "name", o.Name, "err", err)
	}
	atConnect, refused := judgeBalance(o)
	h.Refusals.set(o, refused)
	for i := range s.Ports {
		s.Ports[i].AtConnect = slices.Contains(atConnect, s.Ports[i].Number)
	}
	return s
}

func (h handler) remove(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	switch o := obj.(type) {
	case *corev1.Service:
		key := model.Key{Namespace: o.Namespace, Name: o.Name}
		h.Refusals.forget(key)
		h.sink.DeleteService(key)
	case *discoveryv1.EndpointSlice:
		h.sink.DeleteSlice(model.Key{Namespace: o.Namespace, Name: o.Name})
	}
}

// slim drops what nothing here reads before the informer stores it; the rest
// is most of an object's memory.
func slim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Service:
		balance, asks := o.Annotations[contract.AnnotationBalance]
		o.ObjectMeta = slimMeta(o.ObjectMeta, nil)
		if asks {
			o.Annotations = map[string]string{contract.AnnotationBalance: balance}
		}
		o.Status = corev1.ServiceStatus{}
		o.Spec.Selector = nil
	case *discoveryv1.EndpointSlice:
		label := o.Labels[discoveryv1.LabelServiceName]
		o.ObjectMeta = slimMeta(o.ObjectMeta, map[string]string{discoveryv1.LabelServiceName: label})
		for i := range o.Endpoints {
			o.Endpoints[i].DeprecatedTopology, o.Endpoints[i].Hints, o.Endpoints[i].NodeName = nil, nil, nil
		}
	case cache.DeletedFinalStateUnknown:
		// Its object was slimmed when it was stored.
	default:
		return nil, fmt.Errorf("slim object: unexpected type %T", obj)
	}
	return obj, nil
}

func slimMeta(m metav1.ObjectMeta, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: labels}
}
