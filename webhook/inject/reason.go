// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"github.com/shuntmesh/shunt/internal/contract"
)

// Reason is why a pod is injected, left alone or refused: a word that fits a
// metric's label and an Event, and stays the same from version to version.
// Words says it in full.
type Reason string

// The reasons for giving a pod a proxy.
const (
	PodEnabled       Reason = "PodEnabled"
	NamespaceEnabled Reason = "NamespaceEnabled"
	AlwaysSelector   Reason = "AlwaysSelector"
	DefaultEnabled   Reason = "DefaultEnabled"
)

// The reasons for leaving a pod alone.
const (
	HostNetwork       Reason = "HostNetwork"
	MirrorPod         Reason = "MirrorPod"
	Windows           Reason = "Windows"
	SystemNamespace   Reason = "SystemNamespace"
	PodDisabled       Reason = "PodDisabled"
	NamespaceDisabled Reason = "NamespaceDisabled"
	NeverSelector     Reason = "NeverSelector"
	DefaultDisabled   Reason = "DefaultDisabled"
	OtherMesh         Reason = "OtherMesh"
	AlreadyInjected   Reason = "AlreadyInjected"
	NeverEnds         Reason = "NeverEnds"
)

// The reasons for refusing a pod; the error says what exactly.
const (
	BadSwitch     Reason = "BadSwitch"
	BadAnnotation Reason = "BadAnnotation"
	ProxyUser     Reason = "ProxyUser"
	ProxyPort     Reason = "ProxyPort"
	TakenName     Reason = "TakenName"
)

// words holds every reason once, in the order of the decision.
func words() []struct {
	reason  Reason
	injects bool
	text    string
} {
	const on, off = contract.LabelInject + ": " + contract.InjectEnabled, contract.LabelInject + ": " + contract.InjectDisabled
	return []struct {
		reason  Reason
		injects bool
		text    string
	}{
		{HostNetwork, false, "the pod uses the node's network (hostNetwork: true), and redirecting there would take the whole node's traffic"},
		{MirrorPod, false, "the pod is the mirror of a static pod, which the kubelet runs from its own file"},
		{Windows, false, "the pod runs on Windows, and the proxy runs on Linux only"},
		{SystemNamespace, false, "the pod is in a namespace that the cluster or the mesh itself needs to start"},
		{PodDisabled, false, "the pod says " + off + ", or Istio's word for it"},
		{PodEnabled, true, "the pod says " + on},
		{NamespaceDisabled, false, "the pod's namespace says " + off},
		{NamespaceEnabled, true, "the pod's namespace says " + on},
		{NeverSelector, false, "the pod's labels match a selector that the webhook never injects"},
		{AlwaysSelector, true, "the pod's labels match a selector that the webhook always injects"},
		{DefaultEnabled, true, "neither the pod nor its namespace says anything, and the webhook then injects"},
		{DefaultDisabled, false, "neither the pod nor its namespace says " + on},
		{OtherMesh, false, "the pod already has another mesh's proxy, and two would fight over its traffic"},
		{AlreadyInjected, false, "the pod already has the proxy"},
		{NeverEnds, false, "the pod runs to completion, and without native sidecars the proxy would keep it from ending"},
		{BadSwitch, false, "a switch of the pod or its namespace has a value that is unknown"},
		{BadAnnotation, false, "an annotation of the pod or its namespace has an unknown key or a bad value"},
		{ProxyUser, false, "a container of the pod runs as the proxy's uid or gid"},
		{ProxyPort, false, "a container of the pod listens on a port of the proxy"},
		{TakenName, false, "the pod uses a name of the mesh for something of its own"},
	}
}

// Reasons returns every reason there is, so that metrics can begin at zero.
func Reasons() []Reason {
	var all []Reason
	for _, row := range words() {
		all = append(all, row.reason)
	}
	return all
}

// Words returns the reason as a sentence for the pod's author.
func (r Reason) Words() string {
	for _, row := range words() {
		if row.reason == r {
			return row.text
		}
	}
	return string(r)
}

// Injects reports whether a pod gets a proxy for this reason.
func (r Reason) Injects() bool {
	for _, row := range words() {
		if row.reason == r {
			return row.injects
		}
	}
	return false
}
