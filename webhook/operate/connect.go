// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"fmt"
	"net/http"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
)

// Clients are the parts of the API that the webhook uses.
type Clients struct {
	Secrets       kubesecret.Secrets // of the system namespace
	Registrations Registrations
	Leases        Leases // of the system namespace
	Namespaces    NamespaceReader
	Events        func(namespace string) EventWriter
	Pods          func(namespace string) PodLister
	Version       func(ctx context.Context) ([]byte, error) // GET /version
}

// qps bounds the calls a second of one kind, after a first burst of twice as
// many. Each kind has its own, so that no Event makes a review wait.
const qps = 20

// Connect makes the clients: by the kubeconfig file, or as the pod's service
// account when kubeconfig is empty. It makes no call.
//
// They stand on client-go's rest, with a scheme of the few groups that are used:
// its ready-made typed clients register every group there is, which costs 10
// MiB of binary and 9 MiB of memory.
func Connect(kubeconfig, namespace string) (*Clients, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read how to reach the API server (outside a cluster, set --kubeconfig): %w", err)
	}
	config = rest.AddUserAgent(config, "shunt-webhook")
	config.QPS, config.Burst = qps, 2*qps
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	c, err := newConnector(config, client)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return c.clients(namespace)
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// connector makes the clients of one API server; they share its connections.
type connector struct {
	config     *rest.Config
	client     *http.Client
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
	err        error // the first of group
}

func newConnector(config *rest.Config, client *http.Client) (*connector, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return &connector{config: config, client: client, codecs: serializer.NewCodecFactory(scheme), parameters: runtime.NewParameterCodec(scheme)}, nil
}

func (c *connector) clients(namespace string) (*Clients, error) {
	core := corev1.SchemeGroupVersion
	secrets, events, pods := c.group(core), c.group(core), c.group(core)
	admission, coordination := c.group(admissionregistrationv1.SchemeGroupVersion), c.group(coordinationv1.SchemeGroupVersion)
	if c.err != nil {
		return nil, c.err
	}
	meta, err := metadata.NewForConfigAndClient(c.config, c.client)
	if err != nil {
		return nil, fmt.Errorf("make a client of metadata: %w", err)
	}
	return &Clients{
		Secrets:       resource[corev1.Secret, *corev1.Secret]{secrets, "secrets", namespace, c.parameters},
		Registrations: resource[registration, *registration]{admission, "mutatingwebhookconfigurations", "", c.parameters},
		Leases:        resource[coordinationv1.Lease, *coordinationv1.Lease]{coordination, "leases", namespace, c.parameters},
		Namespaces:    meta.Resource(core.WithResource("namespaces")),
		Events: func(namespace string) EventWriter {
			return resource[corev1.Event, *corev1.Event]{events, "events", namespace, c.parameters}
		},
		Pods: func(namespace string) PodLister {
			return podLister{resource[corev1.Pod, *corev1.Pod]{pods, "pods", namespace, c.parameters}}
		},
		Version: func(ctx context.Context) ([]byte, error) {
			return secrets.Get().AbsPath("/version").Do(ctx).Raw()
		},
	}, nil
}

// group returns a client of one API group, with a rate of its own. It leaves
// the first error in c.err.
func (c *connector) group(gv schema.GroupVersion) *rest.RESTClient {
	config := rest.CopyConfig(c.config)
	config.GroupVersion = &gv
	config.NegotiatedSerializer = c.codecs.WithoutConversion()
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	client, err := rest.RESTClientForConfigAndClient(config, c.client)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("make a client of %s: %w", gv, err)
	}
	return client
}
