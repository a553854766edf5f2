// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Explanation says why a pod has a proxy, or why not.
type Explanation struct {
	Pod       string         `json:"pod,omitempty"`
	Namespace string         `json:"namespace,omitempty"`
	Injected  bool           `json:"injected"` // has a proxy, or would get one
	Reason    inject.Reason  `json:"reason"`
	Message   string         `json:"message"`
	Advice    string         `json:"advice,omitempty"` // what to do about it
	Warnings  []string       `json:"warnings,omitempty"`
	Status    *inject.Status `json:"status,omitempty"` // what was added

	refused bool
}

// Explain reads a pod and its namespace from a cluster, and says why it has a
// proxy or has none.
func Explain(ctx context.Context, client dynamic.Interface, namespace, name string, o inject.Options) (*Explanation, error) {
	pod, err := get[corev1.Pod](ctx, client, "pods", namespace, name)
	if err != nil {
		return nil, err
	}
	ns, err := get[corev1.Namespace](ctx, client, "namespaces", "", namespace)
	if err != nil {
		return nil, err
	}
	where := inject.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	e := explainRunning(pod, where, o)
	e.Pod, e.Namespace = name, namespace
	e.unasked(ctx, client, pod, where)
	return &e, nil
}

func get[T any](ctx context.Context, client dynamic.Interface, resource, namespace, name string) (*T, error) {
	object, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s %s: %w", resource, name, err)
	}
	return decode[T](object)
}

func decode[T any](object *unstructured.Unstructured) (*T, error) {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out); err != nil {
		return nil, fmt.Errorf("read %s: %w", object.GetName(), err)
	}
	return out, nil
}

// explainRunning tells of a pod that exists. One that would be injected now and
// is not came before the webhook, its namespace's label, or its annotations.
func explainRunning(pod *corev1.Pod, ns inject.Namespace, o inject.Options) Explanation {
	if s, ok := inject.StatusOf(pod); ok {
		return Explanation{Injected: true, Reason: inject.AlreadyInjected, Message: "the pod has the proxy of version " + s.Version, Status: &s}
	}
	e := explain(pod, ns, o)
	if e.Injected {
		e.Injected = false
		e.Message = "the pod would get the proxy if it were created now: " + e.Message
		e.Advice = "restart its workload; if that changes nothing, look at the webhook: kubectl -n " + contract.SystemNamespace + " logs deployment/" + contract.WebhookService
	}
	return e
}

// unasked corrects what would become of a pod of which the API server does not
// ask the webhook at all. A pod that would get no proxy even so keeps its reason.
func (e *Explanation) unasked(ctx context.Context, client dynamic.Interface, pod *corev1.Pod, ns inject.Namespace) {
	if e.Status != nil || !e.Reason.Injects() && !e.refused || e.Reason == inject.PodEnabled && byAnnotation(pod, ns) {
		return
	}
	asked := false
	r, err := registered(ctx, client)
	if err == nil {
		asked, err = asks(r, pod, ns)
	}
	switch {
	case asked:
	case err == nil:
		e.Message = "the API server does not ask the webhook about such a pod, since no entry of its registration selects the labels; if it did, " + e.Message
		e.Advice = fmt.Sprintf("label the pod, or its namespace, %s=%s; or give the MutatingWebhookConfiguration %s an entry that selects it",
			contract.LabelInject, contract.InjectEnabled, contract.WebhookService)
	case apierrors.IsNotFound(err):
		e.Message = "the webhook is not registered, so no pod gets a proxy; if it were, " + e.Message
		e.Advice = "shuntctl install, then restart the workload"
	default:
		e.Warnings = append(e.Warnings, "whether the API server asks the webhook at all could not be read: "+err.Error())
	}
}

// explain says what would become of a pod.
func explain(pod *corev1.Pod, ns inject.Namespace, o inject.Options) Explanation {
	d, err := inject.Decide(pod, ns, o)
	if err != nil {
		return Explanation{refused: true, Reason: inject.ReasonOf(err), Message: "the pod would be refused: " + err.Error()}
	}
	e := Explanation{Injected: d.Injected(), Reason: d.Reason, Message: d.Reason.Words(), Warnings: d.Warnings}
	switch {
	case d.Reason == inject.PodEnabled && byAnnotation(pod, ns):
		e.Injected = false
		e.Message = "the pod says " + contract.LabelInject + " in an annotation, and the API server calls the webhook by labels alone"
		e.Advice = "make it a label of the pod, or label the namespace"
	case d.Reason == inject.DefaultDisabled:
		e.Advice = fmt.Sprintf("kubectl label namespace %s %s=%s, then restart the workload", ns.Name, contract.LabelInject, contract.InjectEnabled)
	}
	return e
}

// byAnnotation tells a wish for the proxy that the API server doesn't see, in a
// namespace that doesn't have it too.
func byAnnotation(pod *corev1.Pod, ns inject.Namespace) bool {
	return pod.Annotations[contract.LabelInject] != "" && pod.Labels[contract.LabelInject] == "" && ns.Labels[contract.LabelInject] != contract.InjectEnabled
}

// CABundle returns the certificates that the cluster's proxies trust discovery
// by: the webhook's registration has the same.
func CABundle(ctx context.Context, client dynamic.Interface) (string, error) {
	r, err := registered(ctx, client)
	if err != nil {
		return "", fmt.Errorf("get the mesh's certificates: %w (name a file of them with --discovery-ca)", err)
	}
	for _, w := range r.Webhooks {
		if len(w.ClientConfig.CABundle) > 0 {
			return string(w.ClientConfig.CABundle), nil
		}
	}
	return "", fmt.Errorf("get the mesh's certificates: the webhook has not put them into its registration yet (wait, or name a file of them with --discovery-ca)")
}
