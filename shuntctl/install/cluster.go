// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Versioner tells the version of the API server.
type Versioner interface {
	ServerVersion() (*version.Info, error)
}

// Cluster is an API server that we install into.
type Cluster struct {
	Client  dynamic.Interface
	Version Versioner
	REST    rest.Interface // for paths that are no resource
	Host    string         // the API server's address, for messages
}

// Connect reads a kubeconfig as kubectl does: path, or $KUBECONFIG, or
// ~/.kube/config, or the pod's service account; kubeContext "" is the current
// one. It does not talk to the cluster yet.
func Connect(path, kubeContext string) (*Cluster, error) {
	config, err := RESTConfig(path, kubeContext)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for %s: %w", config.Host, err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for %s: %w", config.Host, err)
	}
	return &Cluster{Client: client, Version: disco, REST: disco.RESTClient(), Host: config.Host}, nil
}

// Namespace returns the namespace that the kubeconfig's context names, or
// "default".
func Namespace(path, kubeContext string) (string, error) {
	namespace, _, err := clientConfig(path, kubeContext).Namespace()
	if err != nil {
		return "", fmt.Errorf("load kubeconfig: %w (name the namespace with -n)", err)
	}
	return namespace, nil
}

// RESTConfig is the configuration that Connect uses.
func RESTConfig(path, kubeContext string) (*rest.Config, error) {
	config, err := clientConfig(path, kubeContext).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w (name one with --kubeconfig or $KUBECONFIG, and its context with --context)", err)
	}
	config.UserAgent = FieldManager
	config.QPS, config.Burst = 50, 100 // an installation is some dozen requests; client-go's 5 a second would be felt
	return config, nil
}

func clientConfig(path, kubeContext string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext})
}

// resource returns the client for an object's kind. Our kinds are few and their
// plurals regular, so no discovery of the API server's resources is needed.
func (c *Cluster) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return c.Client.Resource(gvr).Namespace(o.GetNamespace())
}

// scope is what a list reads.
type scope struct {
	resource            schema.GroupVersionResource
	namespace, selector string // "" is all
}

// core is a resource of the core group, in all namespaces.
func core(name string) scope {
	return scope{resource: schema.GroupVersionResource{Version: "v1", Resource: name}}
}

// list reads the objects of a scope in pages, as T.
func list[T any](ctx context.Context, c *Cluster, s scope) ([]T, error) {
	var out []T
	opts := metav1.ListOptions{Limit: 500, LabelSelector: s.selector}
	for {
		page, err := c.Client.Resource(s.resource).Namespace(s.namespace).List(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.resource.Resource, err)
		}
		for i := range page.Items {
			var item T
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(page.Items[i].Object, &item); err != nil {
				return nil, fmt.Errorf("read %s %s: %w", s.resource.Resource, page.Items[i].GetName(), err)
			}
			out = append(out, item)
		}
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return out, nil
		}
	}
}
