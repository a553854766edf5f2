// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchOf writes a as a JSON patch of pod. It is built from what is added, not
// from the difference of two documents: those would have to be written from
// our Go types, which lose every field that an API server newer than they
// knows, and a patch that replaces a list would then delete it from the pod.
func patchOf(pod *corev1.Pod, a *addition) []Operation {
	ops := annotationSteps(pod, a.annotations)
	ops = append(ops, initContainerSteps(pod, a.initContainers)...)
	return append(ops, volumeSteps(pod, a.volumes)...)
}

// "add" replaces a member that is there (RFC 6902 section 4.1), which is meant
// for a stale status and for an empty or null list.
func add(path string, value any) Operation {
	return Operation{Op: "add", Path: path, Value: value}
}

func annotationSteps(pod *corev1.Pod, annotations map[string]string) []Operation {
	if len(pod.Annotations) == 0 {
		return []Operation{add("/metadata/annotations", annotations)}
	}
	var ops []Operation
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		ops = append(ops, add("/metadata/annotations/"+escape(key), annotations[key]))
	}
	return ops
}

func initContainerSteps(pod *corev1.Pod, containers []corev1.Container) []Operation {
	if len(pod.Spec.InitContainers) == 0 {
		return []Operation{add("/spec/initContainers", containers)}
	}
	var ops []Operation
	for i := range containers {
		ops = append(ops, add("/spec/initContainers/"+strconv.Itoa(i), containers[i]))
	}
	return ops
}

func volumeSteps(pod *corev1.Pod, volumes []corev1.Volume) []Operation {
	if len(pod.Spec.Volumes) == 0 {
		return []Operation{add("/spec/volumes", volumes)}
	}
	var ops []Operation
	for i := range volumes {
		ops = append(ops, add("/spec/volumes/-", volumes[i]))
	}
	return ops
}

// escape writes a map key as a reference token (RFC 6901 section 3).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
