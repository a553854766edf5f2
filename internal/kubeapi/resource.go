// SPDX-License-Identifier: Apache-2.0

// Package kubeapi makes small clients of the API server on client-go's rest. Its
// ready-made clients register every API group there is: 10 MiB of binary, and
// 9 MiB of memory. A program names the groups and the objects that it uses.
package kubeapi

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Object is a pointer to a kind of object.
type Object[T any] interface {
	*T
	runtime.Object
	metav1.Object
}

// Resource is a client of one kind of object, T, in one namespace or in none.
// It has the methods of client-go's typed clients that are used here. Their
// generic base, gentype, also links the fakes of tests and OpenAPI with it: 1
// MiB of binary, and 2 MiB of memory.
type Resource[T any, P Object[T]] struct {
	client     rest.Interface
	name       string // in the plural, as in the API's paths
	namespace  string // "" for kinds that have none
	parameters runtime.ParameterCodec
}

// NewResource returns a client of the objects that the API's paths name so, in
// the plural. The namespace is "" for kinds that have none.
func NewResource[T any, P Object[T]](g Group, name, namespace string) Resource[T, P] {
	return Resource[T, P]{client: g.client, name: name, namespace: namespace, parameters: g.parameters}
}

func (r Resource[T, P]) at(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}

// Get reads one object.
func (r Resource[T, P]) Get(ctx context.Context, name string, o metav1.GetOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Get()).Name(name).VersionedParams(&o, r.parameters).Do(ctx).Into(out)
}

// Create makes an object, and returns it as the API server stored it.
func (r Resource[T, P]) Create(ctx context.Context, object P, o metav1.CreateOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Post()).VersionedParams(&o, r.parameters).Body(object).Do(ctx).Into(out)
}

// Patch changes an object.
func (r Resource[T, P]) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Patch(pt)).Name(name).SubResource(subresources...).VersionedParams(&o, r.parameters).Body(data).Do(ctx).Into(out)
}

// Watch tells of changes until the API server or ctx ends it.
func (r Resource[T, P]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	request := r.at(r.client.Get()).VersionedParams(&o, r.parameters)
	if o.TimeoutSeconds != nil {
		request = request.Timeout(time.Duration(*o.TimeoutSeconds) * time.Second)
	}
	return request.Watch(ctx)
}

// Update replaces an object, if the version in it is the newest.
func (r Resource[T, P]) Update(ctx context.Context, object P, o metav1.UpdateOptions) (P, error) {
	out := P(new(T))
	return out, r.at(r.client.Put()).Name(object.GetName()).VersionedParams(&o, r.parameters).Body(object).Do(ctx).Into(out)
}

// ListInto reads one page of objects into list, which is of their kind's list.
func (r Resource[T, P]) ListInto(ctx context.Context, o metav1.ListOptions, list runtime.Object) error {
	return r.at(r.client.Get()).VersionedParams(&o, r.parameters).Do(ctx).Into(list)
}
