// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/shuntmesh/shunt/internal/contract"
)

// judge says whether a pod is to have a proxy, and why, before anything of it
// is checked. What can't have one comes first; then whoever is nearest to the
// pod decides. The API server's selectors already keep most pods away; a
// broader registration must do no harm.
func judge(pod *corev1.Pod, ns Namespace, o Options) (Reason, error) {
	if why := impossible(pod, ns); why != "" {
		return why, nil
	}
	byPod, err := podSays(pod, o)
	if byPod != "" || err != nil {
		return byPod, err
	}
	byNamespace, err := namespaceSays(ns, o)
	if byNamespace != "" || err != nil {
		return byNamespace, err
	}
	return configured(labels.Set(pod.Labels), o), nil
}

func impossible(pod *corev1.Pod, ns Namespace) Reason {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case pod.Spec.HostNetwork:
		return HostNetwork
	case mirror:
		return MirrorPod
	case onWindows(pod):
		return Windows
	case slices.Contains(contract.SystemNamespaces(), ns.Name):
		return SystemNamespace
	default:
		return ""
	}
}

func onWindows(pod *corev1.Pod) bool {
	if pod.Spec.OS != nil {
		return pod.Spec.OS.Name == corev1.Windows
	}
	return pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// podSays reads the pod's label, and the annotation of the same name when there
// is no label: no selector sees an annotation, but who writes "disabled" there
// plainly wants no proxy. Istio's switch is read where ours is absent.
func podSays(pod *corev1.Pod, o Options) (Reason, error) {
	byAnnotation, err := switched("annotation "+contract.LabelInject, pod.Annotations, PodEnabled, PodDisabled)
	if err != nil {
		return "", err
	}
	byLabel, err := switched("label "+contract.LabelInject, pod.Labels, PodEnabled, PodDisabled)
	if err != nil {
		return "", err
	}
	return cmp.Or(byLabel, byAnnotation, istioSays(pod.Labels, o), istioSays(pod.Annotations, o)), nil
}

func istioSays(values map[string]string, o Options) Reason {
	switch value := values[contract.IstioLabelInject]; {
	case value == "false":
		return PodDisabled
	case value == "true" && o.IstioCompat:
		return PodEnabled
	default:
		return ""
	}
}

func namespaceSays(ns Namespace, o Options) (Reason, error) {
	where := fmt.Sprintf("label %s of namespace %s", contract.LabelInject, ns.Name)
	why, err := switched(where, ns.Labels, NamespaceEnabled, NamespaceDisabled)
	if why != "" || err != nil || !o.IstioCompat {
		return why, err
	}
	switch ns.Labels[contract.IstioLabelNamespace] {
	case contract.InjectEnabled:
		return NamespaceEnabled, nil
	case contract.InjectDisabled:
		return NamespaceDisabled, nil
	default:
		return "", nil
	}
}

// switched refuses a misspelt switch: "false" or "Disabled" on a pod in a
// labelled namespace would be injected against its author's wish.
func switched(where string, values map[string]string, on, off Reason) (Reason, error) {
	value, set := values[contract.LabelInject]
	switch {
	case !set:
		return "", nil
	case value == contract.InjectEnabled:
		return on, nil
	case value == contract.InjectDisabled:
		return off, nil
	default:
		return "", fmt.Errorf("read %s: %q is unknown (allowed: %s, %s)", where, value, contract.InjectEnabled, contract.InjectDisabled)
	}
}

// configured is for pods of which nobody said anything.
func configured(set labels.Set, o Options) Reason {
	matches := func(s labels.Selector) bool { return s.Matches(set) }
	switch {
	case slices.ContainsFunc(o.Never, matches):
		return NeverSelector
	case slices.ContainsFunc(o.Always, matches):
		return AlwaysSelector
	case o.ByDefault:
		return DefaultEnabled
	default:
		return DefaultDisabled
	}
}

// hasOtherMesh tells a pod that Istio or Linkerd gave its proxy already: two
// redirections would each take the other's traffic.
func hasOtherMesh(pod *corev1.Pod) bool {
	for _, l := range listsOf(pod) {
		for _, c := range l.containers {
			if c.Name == "istio-proxy" || c.Name == "linkerd-proxy" {
				return true
			}
		}
	}
	return false
}
