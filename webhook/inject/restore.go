// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Restore returns the steps that take away from pod what its injection added,
// as its status has it; nil when it was not injected. What others have added
// since stays.
func Restore(pod *corev1.Pod) []Operation {
	s, ok := StatusOf(pod)
	if !ok {
		return nil
	}
	var steps []Operation
	for _, l := range listsOf(pod) {
		removed, left := removeSteps("/spec/"+l.name, l.containers, func(c corev1.Container) bool { return slices.Contains(s.Containers, c.Name) })
		steps = append(steps, removed...)
		if s.Own != nil && s.Own.List == l.name {
			rest := list{l.name, left}
			steps = append(steps, rest.insert(min(s.Own.Index, left), s.Own.Container))
		}
	}
	volumes, _ := removeSteps("/spec/volumes", pod.Spec.Volumes, func(v corev1.Volume) bool { return slices.Contains(s.Volumes, v.Name) })
	secrets, _ := removeSteps("/spec/imagePullSecrets", pod.Spec.ImagePullSecrets, func(r corev1.LocalObjectReference) bool { return slices.Contains(s.PullSecrets, r.Name) })
	steps = append(append(steps, volumes...), secrets...)
	return append(append(steps, restoreReplaced(s)...), restoreAnnotations(pod, s)...)
}

// removeSteps remove the entries that are ours, from the last to the first, so
// that the places of the others hold; or the whole list, when none is left.
func removeSteps[T any](path string, entries []T, ours func(T) bool) (steps []Operation, left int) {
	for i := len(entries) - 1; i >= 0; i-- {
		if ours(entries[i]) {
			steps = append(steps, Operation{Op: "remove", Path: path + "/" + strconv.Itoa(i)})
		}
	}
	left = len(entries) - len(steps)
	if left == 0 && len(entries) > 0 {
		steps = []Operation{{Op: "remove", Path: path}}
	}
	return steps, left
}

func restoreAnnotations(pod *corev1.Pod, s Status) []Operation {
	keys := append(slices.Clone(s.Annotations), contract.AnnotationStatus)
	var steps []Operation
	for _, key := range keys {
		if _, set := pod.Annotations[key]; set {
			steps = append(steps, Operation{Op: "remove", Path: "/metadata/annotations/" + escape(key)})
		}
	}
	if len(steps) == len(pod.Annotations) {
		return []Operation{{Op: "remove", Path: "/metadata/annotations"}}
	}
	return steps
}
