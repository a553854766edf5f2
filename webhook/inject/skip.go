// SPDX-License-Identifier: Apache-2.0

package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Reason is why a pod is left alone: a short word that fits a metric's label.
// Words says it in full.
type Reason string

// The reasons for leaving a pod alone.
const (
	AlreadyInjected Reason = "already-injected"
	HostNetwork     Reason = "host-network"
	MirrorPod       Reason = "mirror-pod"
	OptedOut        Reason = "opted-out"
	Windows         Reason = "windows"
)

// Words returns the reason as a sentence for the pod's author.
func (r Reason) Words() string {
	switch r {
	case AlreadyInjected:
		return "the pod already has the proxy"
	case HostNetwork:
		return "the pod uses the node's network (hostNetwork: true), and redirecting there would take the whole node's traffic"
	case MirrorPod:
		return "the pod is the mirror of a static pod, which the kubelet runs from its own file"
	case OptedOut:
		return "the pod says " + contract.LabelInject + ": " + contract.InjectDisabled
	case Windows:
		return "the pod runs on Windows, and the proxy runs on Linux only"
	default:
		return string(r)
	}
}

// skipReason returns why pod is left alone before anything of it is judged, or
// "". The API server's selectors already keep most such pods away; a broader
// registration must do no harm.
func skipReason(pod *corev1.Pod) Reason {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	switch {
	case pod.Spec.HostNetwork:
		return HostNetwork
	case mirror:
		return MirrorPod
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows:
		return Windows
	case optedOut(pod):
		return OptedOut
	default:
		return ""
	}
}

// optedOut reads the label, and the annotation of the same name when there is
// no label: no selector sees an annotation, but who writes "disabled" there
// plainly wants no proxy, and that can be honoured here.
func optedOut(pod *corev1.Pod) bool {
	if value, labelled := pod.Labels[contract.LabelInject]; labelled {
		return value == contract.InjectDisabled
	}
	return pod.Annotations[contract.LabelInject] == contract.InjectDisabled
}
