// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/shuntmesh/shunt/internal/contract"
)

// How pods can be captured.
const (
	CaptureInit = contract.InterceptionInit // by a container of their own
	CaptureCNI  = contract.InterceptionCNI  // by their nodes
	CaptureEBPF = "ebpf"                    // by their nodes, which prefer eBPF
)

// Captures returns them all, the default first.
func Captures() []string { return []string{CaptureInit, CaptureCNI, CaptureEBPF} }

// byNode reports whether nodes capture; the webhook makes no difference between
// the ways in which they do.
func byNode(capture string) bool { return capture == CaptureCNI || capture == CaptureEBPF }

// captureFlag is how the webhook is told that the nodes capture, and ebpfFlag how
// the agents are that they are to prefer eBPF.
const (
	captureFlag = "--capture=" + contract.InterceptionCNI
	ebpfFlag    = "--backend=ebpf"
)

// present is what a cluster has.
type present struct {
	capture string // "" where there is no webhook
	node    bool   // the part that runs on every node
}

func (c *Cluster) present(ctx context.Context) (p present, err error) {
	webhook, err := getApp[appsv1.Deployment](ctx, c, "deployments", contract.WebhookService)
	if err != nil {
		return p, err
	}
	if webhook != nil {
		p.capture = CaptureInit
		if told(webhook.Spec.Template, captureFlag) {
			p.capture = CaptureCNI
		}
	}
	node, err := getApp[appsv1.DaemonSet](ctx, c, "daemonsets", contract.NodeDaemonSet)
	p.node = node != nil
	if p.node && p.capture == CaptureCNI && told(node.Spec.Template, ebpfFlag) {
		p.capture = CaptureEBPF
	}
	return p, err
}

// told reports whether a container has that flag.
func told(t corev1.PodTemplateSpec, flag string) bool {
	return slices.ContainsFunc(t.Spec.Containers, func(c corev1.Container) bool { return slices.Contains(c.Args, flag) })
}

// getApp reads a workload of ours; nil where there is none.
func getApp[T any](ctx context.Context, c *Cluster, resource, name string) (*T, error) {
	gvr := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}
	u, err := c.Client.Resource(gvr).Namespace(contract.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	out := new(T)
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", resource, name, err)
	}
	return out, nil
}

// choose says what to install over what there is. Who says nothing keeps the
// capture that the mesh has. The part on the nodes stays for as long as there
// are pods that it captures: their next start on the same node needs it.
func (p present) choose(o Options, captured []Leftover) Form {
	capture := cmp.Or(o.Capture, p.capture, CaptureInit)
	return Form{
		Registry: o.Registry.Registry,
		Capture:  capture,
		Node:     byNode(capture) || p.node && len(captured) > 0,
	}
}
