// SPDX-License-Identifier: Apache-2.0

// Package annotation reads what a pod and its namespace say about injection. One
// table holds every annotation: key, Istio's words for it, values, default and
// meaning; the documentation is written from the same table. Bad values and
// unknown keys are errors that name key, value and what is allowed. It is pure.
package annotation

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Mode is how a pod's connections come to its proxy.
type Mode string

// The modes.
const (
	ModeRedirect Mode = "redirect" // by rules in the pod's network namespace
	ModeNone     Mode = "none"     // by nothing; the application dials the proxy's ports itself
)

// Settings is what holds for one pod, parsed. Pointers are nil, and strings
// empty, where nobody said anything and there is no value that says so.
type Settings struct {
	Capture Capture

	Native *bool // run the proxy as a native sidecar; nil: as the cluster can
	Hold   bool  // without native sidecars: start the application when the proxy is ready

	DrainTimeout     time.Duration // 0 leaves the proxy's own default
	TerminationDelay time.Duration // without native sidecars: from the pod's deletion to the proxy's SIGTERM

	MergeMetrics bool // serve the application's metrics with the proxy's

	Requests, Limits Resources
	LogLevel         string
	Concurrency      int // 0 leaves the proxy's own default
	Env              []corev1.EnvVar
	Image            string
	PullPolicy       corev1.PullPolicy
}

// Capture says what is redirected. Lists are comma-separated and in the form
// that the flags of "redirect apply" take; "*" is everything.
type Capture struct {
	Mode    Mode
	Backend string // auto, nftables or iptables

	IncludeInboundPorts, ExcludeInboundPorts   string
	IncludeOutboundPorts, ExcludeOutboundPorts string
	IncludeOutboundCIDRs, ExcludeOutboundCIDRs string
	ExcludeInterfaces                          string
}

// Resources are the proxy's; nil where nobody said anything.
type Resources struct {
	CPU, Memory *resource.Quantity
}

// defaults is what holds where nobody says anything.
func defaults() Settings {
	return Settings{
		Capture: Capture{
			Mode: ModeRedirect, Backend: "auto",
			IncludeInboundPorts: everything, ExcludeInboundPorts: proxyPorts, IncludeOutboundCIDRs: everything,
		},
		Hold:             true,
		TerminationDelay: 5 * time.Second,
	}
}
