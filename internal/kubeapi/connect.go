// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Connection makes the clients of one API server; they share its connections.
type Connection struct {
	config     *rest.Config
	client     *http.Client
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
}

// Options say how to reach the API server.
type Options struct {
	Kubeconfig string // "" for the pod's service account
	UserAgent  string
	// QPS bounds the calls a second of each Group, after a first burst of twice
	// as many.
	QPS float32
	// Schemes add the API groups whose objects are spoken of.
	Schemes []func(*runtime.Scheme) error
}

// Connect makes no call. An error says what is wrong with the configuration.
func Connect(o Options) (*Connection, error) {
	config, err := restConfig(o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read how to reach the API server (outside a cluster, set --kubeconfig): %w", err)
	}
	config = rest.AddUserAgent(config, o.UserAgent)
	config.QPS, config.Burst = o.QPS, int(2*o.QPS)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	scheme := runtime.NewScheme()
	for _, add := range o.Schemes {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("make a client of the API server: %w", err)
		}
	}
	return &Connection{config: config, client: client, codecs: serializer.NewCodecFactory(scheme), parameters: runtime.NewParameterCodec(scheme)}, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// Group is a client of one API group, with a rate of its own: what one part of
// a program asks makes no other part wait.
type Group struct {
	client     *rest.RESTClient
	parameters runtime.ParameterCodec
}

// Group returns a client of one API group.
func (c *Connection) Group(gv schema.GroupVersion) (Group, error) {
	config := rest.CopyConfig(c.config)
	config.GroupVersion = &gv
	config.NegotiatedSerializer = c.codecs.WithoutConversion()
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	client, err := rest.RESTClientForConfigAndClient(config, c.client)
	if err != nil {
		return Group{}, fmt.Errorf("make a client of %s: %w", gv, err)
	}
	return Group{client: client, parameters: c.parameters}, nil
}

// Get reads what is no object, such as /version.
func (g Group) Get(ctx context.Context, path string) ([]byte, error) {
	return g.client.Get().AbsPath(path).Do(ctx).Raw()
}

// Metadata returns a client that reads the metadata of any object, and nothing
// else of it.
func (c *Connection) Metadata() (metadata.Interface, error) {
	client, err := metadata.NewForConfigAndClient(c.config, c.client)
	if err != nil {
		return nil, fmt.Errorf("make a client of metadata: %w", err)
	}
	return client, nil
}
