// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/shuntmesh/shunt/internal/contract"
)

// podReader reads what a pod itself says.
type podReader interface {
	// log follows a container's log from its start until the container or ctx
	// ends.
	log(ctx context.Context, ns, pod, container string) (io.ReadCloser, error)
	// metrics returns the metrics of a pod's proxy.
	metrics(ctx context.Context, ns, pod string) ([]byte, error)
}

// viaAPI reads through the API server, so that it works on every cluster and
// from everywhere.
type viaAPI struct{ kube kubernetes.Interface }

func (v viaAPI) log(ctx context.Context, ns, pod, container string) (io.ReadCloser, error) {
	return v.kube.CoreV1().Pods(ns).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
}

func (v viaAPI) metrics(ctx context.Context, ns, pod string) ([]byte, error) {
	return v.kube.CoreV1().RESTClient().Get().Namespace(ns).Resource("pods").
		Name(fmt.Sprintf("%s:%d", pod, contract.PortProxyMetrics)).SubResource("proxy").Suffix("metrics").DoRaw(ctx)
}
