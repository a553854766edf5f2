// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Status is the JSON of the annotation shunt.dev/status: what was added to the
// pod, and how its traffic is captured. It is all that taking it away needs.
type Status struct {
	Version string `json:"version"`
	contract.Capture
	Containers  []string          `json:"containers"`
	Volumes     []string          `json:"volumes"`
	Annotations []string          `json:"annotations,omitempty"` // beside this one
	Replaced    map[string]string `json:"replaced,omitempty"`    // annotations, as they were
	PullSecrets []string          `json:"pullSecrets,omitempty"`
	Own         *Own              `json:"own,omitempty"` // the user's own proxy container, as it was
}

func (s *Status) text() string {
	text, err := json.Marshal(s)
	if err != nil { // strings, and a container that came as JSON, always marshal
		return "{}"
	}
	return string(text)
}

// injected reports whether pod went through before.
func injected(pod *corev1.Pod) bool {
	_, ok := StatusOf(pod)
	return ok
}

// StatusOf returns what was added to pod, if it was injected. The annotation
// alone is not believed: copied from another pod's YAML it would mean a pod
// without a proxy, and containers without it are somebody else's use of the
// names.
func StatusOf(pod *corev1.Pod) (Status, bool) {
	var s Status
	if json.Unmarshal([]byte(pod.Annotations[contract.AnnotationStatus]), &s) != nil {
		return Status{}, false
	}
	var containers, volumes []string
	for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		containers = append(containers, c.Name)
	}
	for _, v := range pod.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	return s, slices.Contains(s.Containers, contract.ProxyContainer) && holds(containers, s.Containers) &&
		slices.Contains(s.Volumes, contract.ProxyVolume) && holds(volumes, s.Volumes)
}

func holds(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}
