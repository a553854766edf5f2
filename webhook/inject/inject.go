// SPDX-License-Identifier: Apache-2.0

// Package inject decides what the webhook adds to a pod. It is pure: pod,
// namespace and options in, a decision out; no I/O, no clock, no API server, no
// text templates. Everything that admission promises about a pod is decided and
// tested here; package webhook only carries the decision.
package inject

//go:generate go run ./internal/docs -out ../../docs

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

// Options is what is the same for every pod of the mesh.
type Options struct {
	Image            string            // of the data plane, for both containers
	PullPolicy       corev1.PullPolicy // "" leaves it to Kubernetes
	PullSecrets      []string          // names of Secrets that Image is pulled with; added to the pod's own
	DiscoveryAddress string            // host:port; "" makes the proxy pass everything through
	DiscoveryCA      string            // PEM bundle that the proxy trusts discovery by
	Interception     string            // who captures: contract.InterceptionInit (as is "") or contract.InterceptionCNI
	Version          string            // written into the status annotation

	// ClassicSidecars is set where the cluster has no native sidecars (KEP-753;
	// on by default since Kubernetes 1.29). A pod's annotation beats it.
	ClassicSidecars bool
	// IstioCompat honours Istio's switches that turn injection on: the
	// namespace's label istio-injection, and sidecar.istio.io/inject: "true".
	// Those that turn it off are always honoured.
	IstioCompat bool

	// What decides when neither the pod nor its namespace does: a pod whose
	// labels match one of Never gets no proxy, else one that matches Always
	// does, else ByDefault says.
	Never, Always []labels.Selector
	ByDefault     bool
}

// Namespace is what of a pod's namespace counts for its injection.
type Namespace struct {
	Name        string // as in the request; a pod's own field may be empty
	Labels      map[string]string
	Annotations map[string]string // hold for every pod that doesn't say otherwise
}

// Decision says what becomes of a pod, and why.
type Decision struct {
	Reason   Reason      // why it is injected, or why not
	Patch    []Operation // to the pod; nil leaves it alone
	Warnings []string    // for the pod's author: what was read and not applied
}

// Injected reports whether the pod gets a proxy now.
func (d Decision) Injected() bool { return len(d.Patch) > 0 }

// Refusal is an error that tells the pod's author what to correct: the pod must
// not be created as it is.
type Refusal struct {
	Reason Reason
	Err    error
}

// Error returns the words for the author.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns what was found.
func (r *Refusal) Unwrap() error { return r.Err }

// ReasonOf returns why err refuses a pod, or "" when it doesn't.
func ReasonOf(err error) Reason {
	if refusal := new(Refusal); errors.As(err, &refusal) {
		return refusal.Reason
	}
	return ""
}

// Decide says what becomes of pod, which it does not change. An error is a
// *Refusal.
//
// A pod that already went through is left alone, so the API server may call
// again after other webhooks have changed it (reinvocationPolicy: IfNeeded).
// It is checked again even so: a webhook that adds a container with the proxy's
// uid must not open a way around the proxy.
func Decide(pod *corev1.Pod, ns Namespace, o Options) (Decision, error) {
	why, err := judge(pod, ns, o)
	if err != nil {
		return Decision{}, &Refusal{BadSwitch, err}
	}
	if !why.Injects() {
		return Decision{Reason: why}, nil
	}
	if hasOtherMesh(pod) {
		return Decision{Reason: OtherMesh}, nil
	}
	s, warnings, err := annotation.Read(
		annotation.Level{Of: "namespace " + ns.Name, Annotations: ns.Annotations},
		annotation.Level{Annotations: pod.Annotations},
	)
	if err != nil {
		return Decision{}, &Refusal{BadAnnotation, err}
	}
	f := formOf(s, o)
	if !f.native && runsToCompletion(pod) {
		return Decision{Reason: NeverEnds}, nil
	}
	if err := check(pod, f); err != nil {
		return Decision{}, err
	}
	if injected(pod) {
		return Decision{Reason: AlreadyInjected}, nil
	}
	if err := checkNames(pod); err != nil {
		return Decision{}, err
	}
	if f.merge, err = mergeOf(pod, f); err != nil {
		return Decision{}, err
	}
	patch, err := patchOf(pod, f)
	if err != nil {
		return Decision{}, err
	}
	return Decision{Reason: why, Patch: patch, Warnings: append(warnings, f.warnings(pod)...)}, nil
}

// runsToCompletion tells a pod of a Job, or of anything alike, which has ended
// when all of its ordinary containers have.
func runsToCompletion(pod *corev1.Pod) bool {
	return pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
}
