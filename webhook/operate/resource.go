// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// resource is a client of one kind of object, T, in one namespace or in none.
// It has the methods of client-go's typed clients that are used here. Their
// generic base, gentype, also links the fakes of tests and OpenAPI with it: 1
// MiB of binary, and 2 MiB of memory.
type resource[T any, P interface {
	*T
	runtime.Object
	metav1.Object
}] struct {
	client     rest.Interface
	name       string // in the plural, as in the API's paths
	namespace  string // "" for kinds that have none
	parameters runtime.ParameterCodec
}

func (r resource[T, P]) at(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}

// Get reads one object.
func (r resource[T, P]) Get(ctx context.Context, name string, o metav1.GetOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Get()).Name(name).VersionedParams(&o, r.parameters).Do(ctx).Into(out)
}

// Create makes an object, and returns it as the API server stored it.
func (r resource[T, P]) Create(ctx context.Context, object P, o metav1.CreateOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Post()).VersionedParams(&o, r.parameters).Body(object).Do(ctx).Into(out)
}

// Patch changes an object.
func (r resource[T, P]) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Patch(pt)).Name(name).SubResource(subresources...).VersionedParams(&o, r.parameters).Body(data).Do(ctx).Into(out)
}

// Watch tells of changes until the API server or ctx ends it.
func (r resource[T, P]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	request := r.at(r.client.Get()).VersionedParams(&o, r.parameters)
	if o.TimeoutSeconds != nil {
		request = request.Timeout(time.Duration(*o.TimeoutSeconds) * time.Second)
	}
	return request.Watch(ctx)
}

// Update replaces an object, if the version in it is the newest.
func (r resource[T, P]) Update(ctx context.Context, object P, o metav1.UpdateOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Put()).Name(object.GetName()).VersionedParams(&o, r.parameters).Body(object).Do(ctx).Into(out)
}

// podLister lists pods; nothing else of them is asked for.
type podLister struct {
	resource[corev1.Pod, *corev1.Pod]
}

// List reads one page of pods.
func (p podLister) List(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	out := new(corev1.PodList)
	return out, p.at(p.client.Get()).VersionedParams(&o, p.parameters).Do(ctx).Into(out)
}
