// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// operation is one step of a JSON patch (RFC 6902). We only ever add.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchOf writes a as a JSON patch of pod. It is built from what is added, not
// from the difference of two documents: those would have to be written from
// our Go types, which lose every field that an API server newer than they
// knows, and a patch that replaces a list would then delete it from the pod.
func patchOf(pod *corev1.Pod, a *inject.Addition) ([]byte, error) {
	ops := annotationSteps(pod, a.Annotations)
	ops = append(ops, initContainerSteps(pod, a.InitContainers)...)
	ops = append(ops, volumeSteps(pod, a.Volumes)...)
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return patch, nil
}

// "add" replaces a member that is there (RFC 6902 section 4.1), which is meant
// for a stale status and for an empty or null list.
func add(path string, value any) operation {
	return operation{Op: "add", Path: path, Value: value}
}

func annotationSteps(pod *corev1.Pod, annotations map[string]string) []operation {
	if pod.Annotations == nil {
		return []operation{add("/metadata/annotations", annotations)}
	}
	var ops []operation
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		ops = append(ops, add("/metadata/annotations/"+escape(key), annotations[key]))
	}
	return ops
}

func initContainerSteps(pod *corev1.Pod, containers []corev1.Container) []operation {
	if len(pod.Spec.InitContainers) == 0 {
		return []operation{add("/spec/initContainers", containers)}
	}
	var ops []operation
	for i := range containers {
		ops = append(ops, add("/spec/initContainers/"+strconv.Itoa(i), containers[i]))
	}
	return ops
}

func volumeSteps(pod *corev1.Pod, volumes []corev1.Volume) []operation {
	if len(pod.Spec.Volumes) == 0 {
		return []operation{add("/spec/volumes", volumes)}
	}
	var ops []operation
	for i := range volumes {
		ops = append(ops, add("/spec/volumes/-", volumes[i]))
	}
	return ops
}

// escape writes a map key as a reference token (RFC 6901 section 3).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
