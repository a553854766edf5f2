// SPDX-License-Identifier: Apache-2.0

// Package contract holds what one component writes and another reads: ports,
// the proxy's uid, label and annotation keys, and the parsers of their values.
// It is a leaf: it imports nothing of ours and performs no I/O.
package contract

// Ports that the data plane uses inside every injected pod. They are Istio's
// numbers where Istio has one, so that NetworkPolicies and dashboards carry over.
const (
	PortAdmin        = 15000 // loopback only, read-only
	PortOutbound     = 15001 // redirected outbound TCP arrives here
	PortInbound      = 15006 // redirected inbound TCP arrives here
	PortTunnel       = 15008 // reserved for the mTLS tunnel
	PortAppMetrics   = 15020 // app probes and merged metrics
	PortReady        = 15021 // readiness of the proxy
	PortDNS          = 15053 // reserved for DNS capture
	PortProxyMetrics = 15090 // the proxy's own Prometheus metrics
)

// Ports of the control plane.
const (
	PortDiscovery   = 15012 // ADS over TLS
	PortWebhook     = 8443  // admission over HTTPS
	PortControlHTTP = 15014 // /metrics and /ready of webhook and discovery
	PortNodeHTTP    = 15016 // /metrics and /ready of the node agent, in the node's own network
)

// PathWebhookConfig is where the webhook says what it was told, on
// PortControlHTTP: the JSON of webhook/inject.Options.
const PathWebhookConfig = "/config"

// ProxyUID is the uid and gid of the proxy. The redirection rules tell the
// proxy's own traffic from the application's by it, so no other container of
// an injected pod may run as this user or group.
const ProxyUID = 1337

// ValidateUID is the uid and gid of the container that waits until a pod is
// captured. It stands for every application's, so it is none that the rules
// know: "nonroot" in distroless images.
const ValidateUID = 65532

// Names of Kubernetes objects that more than one component knows.
const (
	SystemNamespace     = "shunt-system"
	ProxyContainer      = "shunt-proxy"
	InitContainer       = "shunt-init"
	ValidateContainer   = "shunt-validate" // waits until the node captures the pod
	NodeDaemonSet       = "shunt-node"
	PluginBinary        = "shunt-cni"
	DiscoveryService    = "shunt-discovery"
	WebhookService      = "shunt-webhook"
	DiscoveryAudience   = "shunt-discovery" // audience of the proxy's projected token
	CASecret            = "shunt-ca"        // holds the mesh's certificate authority
	ClusterDomain       = "cluster.local"
	ProxyVolume         = "shunt-proxy"    // the proxy's own emptyDir
	TokenVolume         = "shunt-token"    // the projected token
	NoTokenVolume       = "shunt-no-token" // empty; stands where the API server would put the pod's own token
	ServiceAccountDir   = "/var/run/secrets/kubernetes.io/serviceaccount"
	AdminSocket         = "/run/shunt/admin.sock"
	TokenFile           = "/var/run/secrets/shunt/token"
	EnvDiscoveryCA      = "SHUNT_DISCOVERY_CA" // PEM bundle, written into the pod by the webhook
	InboundDialSourceV4 = "127.0.0.6"          // the proxy dials the app from this address
	InboundDialSourceV6 = "::6"
)

// ProxyEnv returns the environment variables that the webhook gives the proxy.
func ProxyEnv() []string {
	return []string{"POD_NAME", "POD_NAMESPACE", "NODE_NAME", "POD_IPS", EnvDiscoveryCA}
}

// ProxyPorts returns the TCP ports that the proxy takes in every injected pod,
// or will take; no container of the pod may listen on them.
func ProxyPorts() []int32 {
	return []int32{PortAdmin, PortOutbound, PortInbound, PortTunnel, PortAppMetrics, PortReady, PortDNS, PortProxyMetrics}
}
