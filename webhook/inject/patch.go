// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// annotationDefaultContainer tells kubectl which container "logs" and "exec"
// mean when none is named (KEP-2227).
const annotationDefaultContainer = "kubectl.kubernetes.io/default-container"

// Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	From  string `json:"from,omitempty"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Below returns the step for a pod that stands at path in a larger document, as
// the template of a Deployment does at "/spec/template".
func (o Operation) Below(path string) Operation {
	o.Path = path + o.Path
	if o.From != "" {
		o.From = path + o.From
	}
	return o
}

// patchOf writes what the pod gets as a JSON patch. It is built from what is
// added, not from the difference of two documents: those would have to be
// written from our Go types, which lose every field that an API server newer
// than they knows, and a patch that replaces a list would then delete it from
// the pod.
func patchOf(pod *corev1.Pod, f form) ([]Operation, error) {
	own, err := findOwn(pod, f)
	if err != nil {
		return nil, err
	}
	if own != nil {
		own.prefer(&f.Requests, &f.Limits)
	}
	s := &Status{Version: f.Version, Capture: contract.Capture{Interception: contract.InterceptionNone}, Own: own}
	steps, err := containerSteps(pod, f, s)
	if err != nil {
		return nil, err
	}
	steps = append(steps, volumeSteps(pod, s)...)
	steps = append(steps, pullSecretSteps(pod, f, s)...)
	return append(steps, annotationSteps(pod, f, s)...), nil
}

// "add" replaces a member that is there (RFC 6902 section 4.1), which is meant
// for a stale status and for an empty or null list.
func add(path string, value any) Operation {
	return Operation{Op: "add", Path: path, Value: value}
}

func volumeSteps(pod *corev1.Pod, s *Status) []Operation {
	all := volumes(pod)
	for _, v := range all {
		s.Volumes = append(s.Volumes, v.Name)
	}
	return appendSteps("/spec/volumes", len(pod.Spec.Volumes), all)
}

func pullSecretSteps(pod *corev1.Pod, f form, s *Status) []Operation {
	var missing []corev1.LocalObjectReference
	for _, name := range f.PullSecrets {
		ref := corev1.LocalObjectReference{Name: name}
		if !slices.Contains(pod.Spec.ImagePullSecrets, ref) {
			missing = append(missing, ref)
			s.PullSecrets = append(s.PullSecrets, name)
		}
	}
	return appendSteps("/spec/imagePullSecrets", len(pod.Spec.ImagePullSecrets), missing)
}

func appendSteps[T any](path string, length int, entries []T) []Operation {
	switch {
	case len(entries) == 0:
		return nil
	case length == 0:
		return []Operation{add(path, entries)}
	}
	var ops []Operation
	for _, e := range entries {
		ops = append(ops, add(path+"/-", e))
	}
	return ops
}

// annotationSteps come last, when the status is complete.
func annotationSteps(pod *corev1.Pod, f form, s *Status) []Operation {
	values := make(map[string]string)
	f.merge.annotate(pod, values, s)
	if _, set := pod.Annotations[annotationDefaultContainer]; !set {
		i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name != contract.ProxyContainer })
		if i >= 0 {
			values[annotationDefaultContainer] = pod.Spec.Containers[i].Name
			s.Annotations = append(s.Annotations, annotationDefaultContainer)
		}
	}
	values[contract.AnnotationStatus] = s.text()
	if len(pod.Annotations) == 0 {
		return []Operation{add("/metadata/annotations", values)}
	}
	var ops []Operation
	for _, key := range sortedKeys(values) {
		ops = append(ops, add("/metadata/annotations/"+escape(key), values[key]))
	}
	return ops
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// escape writes a map key as a reference token (RFC 6901 section 3).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
