// SPDX-License-Identifier: Apache-2.0

// Package inject decides what the webhook adds to a pod. It is pure: pod and
// options in, a decision out; no I/O, no clock, no API server, no text
// templates. Everything that admission promises about a pod is decided and
// tested here; package webhook only carries the decision.
package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// annotationDefaultContainer tells kubectl which container "logs" and "exec"
// mean when none is named (KEP-2227).
const annotationDefaultContainer = "kubectl.kubernetes.io/default-container"

// Options is what is the same for every pod of the mesh.
type Options struct {
	Image            string            // of the data plane, for both containers
	PullPolicy       corev1.PullPolicy // "" leaves it to Kubernetes
	DiscoveryAddress string            // host:port; "" makes the proxy pass everything through
	DiscoveryCA      string            // PEM bundle that the proxy trusts discovery by
	Version          string            // written into the status annotation
}

// Addition is what is added to a pod. Nothing that a user wrote is ever
// changed or taken away, so adding is all there is.
type Addition struct {
	Annotations    map[string]string  // set one by one
	InitContainers []corev1.Container // put before all others, in this order
	Volumes        []corev1.Volume    // put after all others, in this order
}

// Decision says what becomes of a pod: it is left alone for a reason, or
// something is added to it. Exactly one of the fields is set.
type Decision struct {
	Skip Reason
	Add  *Addition
}

// Decide says what becomes of pod, which it does not change. An error is a
// refusal: it tells the pod's author what to correct, and the pod must not be
// created.
//
// A pod that already went through is left alone, so the API server may call
// again after other webhooks have changed it (reinvocationPolicy: IfNeeded).
// Its annotations and users are checked again even so: a webhook that adds a
// container with the proxy's uid must not open a way around the proxy.
func Decide(pod *corev1.Pod, o Options) (Decision, error) {
	if why := skipReason(pod); why != "" {
		return Decision{Skip: why}, nil
	}
	if err := checkInjectValue(pod); err != nil {
		return Decision{}, err
	}
	if err := checkKnown(pod.Annotations); err != nil {
		return Decision{}, err
	}
	flags, err := captureFlags(pod.Annotations)
	if err != nil {
		return Decision{}, err
	}
	if err := checkUsers(pod); err != nil {
		return Decision{}, err
	}
	if injected(pod) {
		return Decision{Skip: AlreadyInjected}, nil
	}
	if err := checkNames(pod); err != nil {
		return Decision{}, err
	}
	return Decision{Add: addition(pod, o, flags)}, nil
}

func addition(pod *corev1.Pod, o Options, flags []string) *Addition {
	a := &Addition{
		InitContainers: []corev1.Container{initContainer(o, flags), proxyContainer(o)},
		Volumes:        volumes(),
	}
	a.Annotations = map[string]string{contract.AnnotationStatus: statusOf(a, o.Version)}
	if _, set := pod.Annotations[annotationDefaultContainer]; !set && len(pod.Spec.Containers) > 0 {
		a.Annotations[annotationDefaultContainer] = pod.Spec.Containers[0].Name
	}
	return a
}

// Apply returns a copy of pod with what d adds.
func (d Decision) Apply(pod *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	if d.Add == nil {
		return out
	}
	if out.Annotations == nil {
		out.Annotations = make(map[string]string, len(d.Add.Annotations))
	}
	for key, value := range d.Add.Annotations {
		out.Annotations[key] = value
	}
	out.Spec.InitContainers = append(append([]corev1.Container{}, d.Add.InitContainers...), out.Spec.InitContainers...)
	out.Spec.Volumes = append(out.Spec.Volumes, d.Add.Volumes...)
	return out
}
