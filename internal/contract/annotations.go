// SPDX-License-Identifier: Apache-2.0

package contract

// LabelInject on a namespace or a pod turns injection on or off. The pod's
// label beats the namespace's.
const (
	LabelInject      = "shunt.dev/inject"
	InjectEnabled    = "enabled"
	InjectDisabled   = "disabled"
	AnnotationStatus = "shunt.dev/status" // written by the webhook: JSON, see webhook/inject
)

// Istio's switches: on a pod (label or annotation; "true", "false") and on a
// namespace (label; "enabled", "disabled").
const (
	IstioLabelInject    = "sidecar.istio.io/inject"
	IstioLabelNamespace = "istio-injection"
)

// SystemNamespaces returns the namespaces whose pods never get a proxy: the
// cluster, or the mesh itself, must be able to start without it.
func SystemNamespaces() []string {
	return []string{"kube-system", "kube-public", "kube-node-lease", SystemNamespace}
}

// AnnotationNode is written on a Node by its agent: JSON of a Node.
const AnnotationNode = "shunt.dev/node"

// AnnotationPrefix is that of every annotation and label of ours.
const AnnotationPrefix = "shunt.dev/"

// Annotations on a pod, or on its namespace for all of its pods. What each
// means, takes and stands for in Istio's words is in the one table of package
// webhook/inject, from which docs/annotations.md is written.
const (
	AnnotationIncludeInboundPorts   = "shunt.dev/include-inbound-ports"
	AnnotationExcludeInboundPorts   = "shunt.dev/exclude-inbound-ports"
	AnnotationIncludeOutboundPorts  = "shunt.dev/include-outbound-ports"
	AnnotationExcludeOutboundPorts  = "shunt.dev/exclude-outbound-ports"
	AnnotationIncludeOutboundRanges = "shunt.dev/include-outbound-cidrs"
	AnnotationExcludeOutboundRanges = "shunt.dev/exclude-outbound-cidrs"
	AnnotationExcludeInterfaces     = "shunt.dev/exclude-interfaces"

	AnnotationInterceptionMode    = "shunt.dev/interception-mode"
	AnnotationInterceptionBackend = "shunt.dev/interception-backend"

	AnnotationNativeSidecar    = "shunt.dev/native-sidecar"
	AnnotationHoldApplication  = "shunt.dev/hold-application"
	AnnotationDrainTimeout     = "shunt.dev/drain-timeout"
	AnnotationTerminationDelay = "shunt.dev/termination-delay"

	AnnotationMergeMetrics = "shunt.dev/merge-metrics"

	AnnotationProxyCPURequest      = "shunt.dev/proxy-cpu-request"
	AnnotationProxyCPULimit        = "shunt.dev/proxy-cpu-limit"
	AnnotationProxyMemoryRequest   = "shunt.dev/proxy-memory-request"
	AnnotationProxyMemoryLimit     = "shunt.dev/proxy-memory-limit"
	AnnotationProxyLogLevel        = "shunt.dev/proxy-log-level"
	AnnotationProxyConcurrency     = "shunt.dev/proxy-concurrency"
	AnnotationProxyEnv             = "shunt.dev/proxy-env"
	AnnotationProxyImage           = "shunt.dev/proxy-image"
	AnnotationProxyImagePullPolicy = "shunt.dev/proxy-image-pull-policy"
)
