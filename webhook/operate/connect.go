// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/kubeapi"
)

// Clients are the parts of the API that the webhook uses.
type Clients struct {
	Secrets       kubesecret.Secrets // of the system namespace
	Registrations Registrations
	Leases        Leases // of the system namespace
	Namespaces    NamespaceReader
	Events        func(namespace string) events.Writer
	Pods          func(namespace string) PodLister
	Version       func(ctx context.Context) ([]byte, error) // GET /version
}

// qps bounds the calls a second of one kind, after a first burst of twice as
// many. Each kind has its own, so that no Event makes a review wait.
const qps = 20

// Connect makes the clients: by the kubeconfig file, or as the pod's service
// account when kubeconfig is empty. It makes no call.
func Connect(kubeconfig, namespace string) (*Clients, error) {
	c, err := kubeapi.Connect(kubeapi.Options{
		Kubeconfig: kubeconfig, UserAgent: contract.WebhookService, QPS: qps,
		Schemes: []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme, coordinationv1.AddToScheme},
	})
	if err != nil {
		return nil, err
	}
	meta, err := c.Metadata()
	if err != nil {
		return nil, err
	}
	return clients(c, meta.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")), namespace)
}

func clients(c *kubeapi.Connection, namespaces NamespaceReader, namespace string) (*Clients, error) {
	core := corev1.SchemeGroupVersion
	var groups []kubeapi.Group
	for _, gv := range []schema.GroupVersion{core, core, core, admissionregistrationv1.SchemeGroupVersion, coordinationv1.SchemeGroupVersion} {
		group, err := c.Group(gv)
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	secrets, written, pods, admission, coordination := groups[0], groups[1], groups[2], groups[3], groups[4]
	return &Clients{
		Secrets:       kubeapi.NewResource[corev1.Secret](secrets, "secrets", namespace),
		Registrations: kubeapi.NewResource[registration](admission, "mutatingwebhookconfigurations", ""),
		Leases:        kubeapi.NewResource[coordinationv1.Lease](coordination, "leases", namespace),
		Namespaces:    namespaces,
		Events: func(namespace string) events.Writer {
			return kubeapi.NewResource[corev1.Event](written, "events", namespace)
		},
		Pods: func(namespace string) PodLister {
			return podLister{kubeapi.NewResource[corev1.Pod](pods, "pods", namespace)}
		},
		Version: func(ctx context.Context) ([]byte, error) { return secrets.Get(ctx, "/version") },
	}, nil
}

// podLister lists pods; nothing else of them is asked for.
type podLister struct {
	kubeapi.Resource[corev1.Pod, *corev1.Pod]
}

// List reads one page of pods.
func (p podLister) List(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	out := new(corev1.PodList)
	return out, p.ListInto(ctx, o, out)
}
