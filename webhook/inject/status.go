// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// InterceptionInit says in a Status that an init container redirects the pod.
const InterceptionInit = "init"

// Status is the JSON of the annotation shunt.dev/status: what was added to the
// pod, and how its traffic is captured.
type Status struct {
	Version      string   `json:"version"`
	Interception string   `json:"interception"`
	Containers   []string `json:"containers"`
	Volumes      []string `json:"volumes"`
}

func statusOf(a *addition, version string) string {
	s := Status{Version: version, Interception: InterceptionInit}
	for _, c := range a.initContainers {
		s.Containers = append(s.Containers, c.Name)
	}
	for _, v := range a.volumes {
		s.Volumes = append(s.Volumes, v.Name)
	}
	text, err := json.Marshal(s)
	if err != nil { // strings and slices of strings always marshal
		return "{}"
	}
	return string(text)
}

// injected reports whether pod went through before. The annotation alone is
// not believed: copied from another pod's YAML it would mean a pod without a
// proxy, and containers without it are somebody else's use of the names.
func injected(pod *corev1.Pod) bool {
	var s Status
	if json.Unmarshal([]byte(pod.Annotations[contract.AnnotationStatus]), &s) != nil {
		return false
	}
	found := 0
	for _, c := range pod.Spec.InitContainers {
		if c.Name == contract.InitContainer || c.Name == contract.ProxyContainer {
			found++
		}
	}
	return found == 2
}
