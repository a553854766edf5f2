// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

// What the proxy gets when nobody says anything. Idle it takes some 20 MiB, of
// which most is shared with the other proxies of the node (docs/performance.md);
// the limit leaves room for thousands of connections. There is no CPU limit:
// throttling a proxy adds its stalls to every call.
const (
	proxyCPU         = "10m"
	proxyMemory      = "24Mi"
	proxyMemoryLimit = "128Mi"
)

// initResources are those of the init container, which runs for milliseconds. A
// pod's requests are the larger of its init containers' and the sum of the
// others', so these cost a pod nothing.
func initResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("10m"),
			corev1.ResourceMemory: resource.MustParse("16Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
}

// proxyResources completes what was asked for. A request beyond the limit is
// none that the API server takes, so a default gives way to what was said.
func proxyResources(requests, limits annotation.Resources) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	fit(&out, corev1.ResourceCPU, requests.CPU, limits.CPU, proxyCPU, "")
	fit(&out, corev1.ResourceMemory, requests.Memory, limits.Memory, proxyMemory, proxyMemoryLimit)
	return out
}

func fit(out *corev1.ResourceRequirements, name corev1.ResourceName, request, limit *resource.Quantity, defaultRequest, defaultLimit string) {
	if request == nil {
		request = new(resource.MustParse(defaultRequest))
		if limit != nil && limit.Cmp(*request) < 0 {
			request = limit
		}
	}
	out.Requests[name] = *request
	switch {
	case limit != nil:
		out.Limits[name] = *limit
	case defaultLimit == "":
	case request.Cmp(resource.MustParse(defaultLimit)) > 0:
		out.Limits[name] = *request
	default:
		out.Limits[name] = resource.MustParse(defaultLimit)
	}
}

// heapLimit is the soft limit of the proxy's heap, in bytes: half of what the
// kernel kills it beyond, as 64 of 128 MiB are without an annotation. The other
// half is for buffers in the kernel, stacks and the binary. The flag holds 31 bits.
func heapLimit(memoryLimit resource.Quantity) int64 {
	return min(memoryLimit.Value()/2, math.MaxInt32)
}
