// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Configured asks the webhook that runs in a cluster what it was told, by the API
// server's proxy to its Service.
func Configured(ctx context.Context, api rest.Interface) (inject.Options, error) {
	path := fmt.Sprintf("/api/v1/namespaces/%s/services/%s:%d/proxy%s",
		contract.SystemNamespace, contract.WebhookService, contract.PortControlHTTP, contract.PathWebhookConfig)
	text, err := api.Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return inject.Options{}, fmt.Errorf("ask the webhook what it was told: %w", err)
	}
	var o inject.Options
	if err := json.Unmarshal(text, &o); err != nil {
		return inject.Options{}, fmt.Errorf("ask the webhook what it was told: %w", err)
	}
	return o, nil
}

// registered reads the webhook's registration.
func registered(ctx context.Context, client dynamic.Interface) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	gvr := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"}
	object, err := client.Resource(gvr).Get(ctx, contract.WebhookService, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode[admissionregistrationv1.MutatingWebhookConfiguration](object)
}

// asks reports whether the API server would ask the webhook about a pod: an entry
// has to select the labels of both. What the entries' match conditions spare is
// nothing that could be injected.
func asks(r *admissionregistrationv1.MutatingWebhookConfiguration, pod *corev1.Pod, ns inject.Namespace) (bool, error) {
	for _, entry := range r.Webhooks {
		both := true
		for _, l := range []struct {
			selector *metav1.LabelSelector
			set      map[string]string
		}{{entry.NamespaceSelector, ns.Labels}, {entry.ObjectSelector, pod.Labels}} {
			if l.selector == nil {
				continue // everything
			}
			selector, err := metav1.LabelSelectorAsSelector(l.selector)
			if err != nil {
				return false, fmt.Errorf("read selectors of %s in %s: %w", entry.Name, r.Name, err)
			}
			both = both && selector.Matches(labels.Set(l.set))
		}
		if both {
			return true, nil
		}
	}
	return false, nil
}
