// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/shuntmesh/shunt/internal/contract"
)

// tokenLife is how long a proxy's token is valid. The kubelet writes a new one
// at 80 % of it; the API server allows nothing below 10 minutes.
const tokenLife = 3600 // seconds

// volumes are the proxy's. An emptyDir in memory does not count as local
// storage for the cluster autoscaler (since 1.27), so it doesn't pin the pod to
// its node.
func volumes(pod *corev1.Pod) []corev1.Volume {
	out := []corev1.Volume{
		inMemory(contract.ProxyVolume, "1Mi"), // it holds one socket
		{Name: contract.TokenVolume, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
					Audience:          contract.DiscoveryAudience,
					ExpirationSeconds: new(int64(tokenLife)),
					Path:              path.Base(contract.TokenFile),
				},
			}}},
		}},
	}
	if hasToken(pod) {
		out = append(out, inMemory(contract.NoTokenVolume, "4Ki"))
	}
	return out
}

func inMemory(name, size string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse(size))},
	}}
}

// hasToken reports whether the API server gives the pod's containers a token
// for itself.
func hasToken(pod *corev1.Pod) bool {
	return pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken
}

// noTokenMount keeps the pod's own token out of our containers. The API server
// runs its ServiceAccount admission again after a webhook has changed a pod,
// and it mounts the token in every container that has no mount at this path.
func noTokenMount(pod *corev1.Pod) []corev1.VolumeMount {
	if !hasToken(pod) {
		return nil
	}
	return []corev1.VolumeMount{{Name: contract.NoTokenVolume, MountPath: contract.ServiceAccountDir, ReadOnly: true}}
}
