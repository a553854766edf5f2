// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"fmt"
	"net/http"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
)

// Clients are the parts of the API that the webhook uses.
type Clients struct {
	Secrets       kubesecret.Secrets // of the system namespace
	Registrations Registrations
}

// Connect makes the clients: by the kubeconfig file, or as the pod's service
// account when kubeconfig is empty. It makes no call.
//
// They are built of client-go's parts, with a scheme of the few groups that are
// used: its ready-made typed clients register every group there is, which costs
// 10 MiB of binary and 7 MiB of memory.
func Connect(kubeconfig, namespace string) (*Clients, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read how to reach the API server (outside a cluster, set --kubeconfig): %w", err)
	}
	config = rest.AddUserAgent(config, "shunt-webhook")
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
}

func newConnector(config *rest.Config, client *http.Client) (*connector, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return &connector{config: config, client: client, codecs: serializer.NewCodecFactory(scheme), parameters: runtime.NewParameterCodec(scheme)}, nil
}

func (c *connector) clients(namespace string) (*Clients, error) {
	core, err := c.group(corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	admission, err := c.group(admissionregistrationv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &Clients{
		Secrets:       gentype.NewClient("secrets", core, c.parameters, namespace, func() *corev1.Secret { return new(corev1.Secret) }),
		Registrations: gentype.NewClient("mutatingwebhookconfigurations", admission, c.parameters, "", func() *registration { return new(registration) }),
	}, nil
}

// group returns a client of one API group.
func (c *connector) group(gv schema.GroupVersion) (*rest.RESTClient, error) {
	config := rest.CopyConfig(c.config)
	config.GroupVersion = &gv
	config.NegotiatedSerializer = c.codecs.WithoutConversion()
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	client, err := rest.RESTClientForConfigAndClient(config, c.client)
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", gv, err)
	}
	return client, nil
}
