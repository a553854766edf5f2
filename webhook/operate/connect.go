// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"fmt"

	typedadmissionv1 "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Connect fills in the clients of o: by the kubeconfig file, or as the pod's
// service account when kubeconfig is empty. It makes no call.
func Connect(o Options, kubeconfig, namespace string) (Options, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return o, fmt.Errorf("read how to reach the API server (outside a cluster, set --kubeconfig): %w", err)
	}
	config = rest.AddUserAgent(config, "shunt-webhook")
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return o, fmt.Errorf("make a client of the API server: %w", err)
	}
	core, err := typedcorev1.NewForConfigAndClient(config, client)
	if err != nil {
		return o, fmt.Errorf("make a client of the API server: %w", err)
	}
	admission, err := typedadmissionv1.NewForConfigAndClient(config, client)
	if err != nil {
		return o, fmt.Errorf("make a client of the API server: %w", err)
	}
	o.Secrets, o.Registrations = core.Secrets(namespace), admission.MutatingWebhookConfigurations()
	return o, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}
