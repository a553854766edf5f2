// SPDX-License-Identifier: Apache-2.0

// Package kube is what the node agent needs the API server for: the pods of its
// node, its own DaemonSet, its Node, and Events. All of it is read as metadata
// alone, which is a tenth of a pod and never shows a Secret's name or an
// environment; the Node is read once, for the version of its runtime.
//
// What is known stays known while the API server is away.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/kubeapi"
)

// callTimeout bounds one call of the API server.
const callTimeout = 5 * time.Second

// qps bounds the calls a second of one kind, after a first burst of twice as
// many.
const qps = 10

// Reader reads the metadata of objects of one kind, in one namespace or in all.
type Reader interface {
	Get(ctx context.Context, name string, o metav1.GetOptions, subresources ...string) (*metav1.PartialObjectMetadata, error)
	List(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// Nodes is what is asked of the API server about them.
type Nodes interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Node, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (*corev1.Node, error)
}

// Clients are the parts of the API that the agent uses.
type Clients struct {
	Pods       Reader                        // of all namespaces
	PodsOf     func(namespace string) Reader // of one
	DaemonSets Reader                        // of the system namespace
	Nodes      Nodes                         //
	Events     func(namespace string) events.Writer
	// Authority returns what discovery is trusted by, in PEM.
	Authority func(context.Context) ([]byte, error)
}

// Connect makes the clients: by the kubeconfig file, or as the pod's service
// account when kubeconfig is empty. It makes no call.
func Connect(kubeconfig, namespace string) (*Clients, error) {
	c, err := kubeapi.Connect(kubeapi.Options{
		Kubeconfig: kubeconfig, UserAgent: contract.NodeDaemonSet, QPS: qps,
		Schemes: []func(*runtime.Scheme) error{corev1.AddToScheme},
	})
	if err != nil {
		return nil, err
	}
	meta, err := c.Metadata()
	if err != nil {
		return nil, err
	}
	nodes, err := c.Group(corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	written, err := c.Group(corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	pods := meta.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	return &Clients{
		Pods:       pods,
		PodsOf:     func(namespace string) Reader { return pods.Namespace(namespace) },
		DaemonSets: meta.Resource(appsv1.SchemeGroupVersion.WithResource("daemonsets")).Namespace(namespace),
		Nodes:      kubeapi.NewResource[corev1.Node](nodes, "nodes", ""),
		Events: func(namespace string) events.Writer {
			return kubeapi.NewResource[corev1.Event](written, "events", namespace)
		},
		Authority: (&authority{read: nodes.Get}).get,
	}, nil
}

// RuntimeVersion returns what the kubelet says of the node's runtime, such as
// "containerd://2.2.0".
func RuntimeVersion(ctx context.Context, nodes Nodes, node string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, err := nodes.Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read Node %s: %w", node, err)
	}
	return n.Status.NodeInfo.ContainerRuntimeVersion, nil
}

// Report writes the annotation shunt.dev/node.
func Report(ctx context.Context, nodes Nodes, node string, r contract.Node) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report on Node %s: %w", node, err)
	}
	return annotate(ctx, nodes, node, new(string(value)))
}

// Forget removes the annotation. A Node that is gone is no error.
func Forget(ctx context.Context, nodes Nodes, node string) error {
	err := annotate(ctx, nodes, node, nil)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func annotate(ctx context.Context, nodes Nodes, node string, value *string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]*string{contract.AnnotationNode: value}}})
	if err != nil {
		return fmt.Errorf("annotate Node %s: %w", node, err)
	}
	if _, err := nodes.Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("annotate Node %s: %w", node, err)
	}
	return nil
}
