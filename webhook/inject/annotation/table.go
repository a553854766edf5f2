// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"github.com/shuntmesh/shunt/internal/contract"
)

// proxyPorts are the pod's ports that others call at the proxy itself: metrics,
// readiness, app probes. They are never redirected to it.
const proxyPorts = "15090,15021,15020"

// Istio's keys that stand for ours. A field of its proxy configuration is
// written as "proxy.istio.io/config: field".
const (
	istioTraffic = "traffic.sidecar.istio.io/"
	istioSidecar = "sidecar.istio.io/"
	istioConfig  = "proxy.istio.io/config"
)

// row is one annotation.
type row struct {
	key     string
	aliases []string // Istio's words, the first that is there counts
	unset   string   // what holds when nobody says anything, in words
	allowed string   // the values, in words
	doc     string   // one sentence or two, for people
	set     func(value string) error
}

// group is a part of the table under one heading.
type group struct {
	title string
	rows  []row
}

// table holds every annotation. A row is all that a new one needs.
func (s *Settings) table() []group {
	return []group{
		{"Which ports and addresses are captured", s.captureRows()},
		{"How they are captured", s.modeRows()},
		{"Start and end", s.lifeRows()},
		{"The proxy's resources", s.resourceRows()},
		{"The proxy itself", s.proxyRows()},
		{"Metrics", s.metricsRows()},
	}
}

func (s *Settings) captureRows() []row {
	c := &s.Capture
	return []row{
		{
			contract.AnnotationIncludeInboundPorts,
			[]string{istioTraffic + "includeInboundPorts"},
			"`*`", portsOrAll,
			"TCP ports of the pod whose connections go through the proxy. Empty: none.",
			list(&c.IncludeInboundPorts, everything, ports),
		},
		{
			contract.AnnotationExcludeInboundPorts,
			[]string{istioTraffic + "excludeInboundPorts"},
			"none", portList,
			"TCP ports of the pod that are left alone. The proxy's own ports " + proxyPorts + " always are.",
			list(&c.ExcludeInboundPorts, proxyPorts, ports),
		},
		{
			contract.AnnotationIncludeOutboundPorts,
			[]string{istioTraffic + "includeOutboundPorts"},
			"none", portList,
			"Destination ports that are captured wherever they go, also outside of `include-outbound-cidrs`.",
			list(&c.IncludeOutboundPorts, "", ports),
		},
		{
			contract.AnnotationExcludeOutboundPorts,
			[]string{istioTraffic + "excludeOutboundPorts"},
			"none", portList,
			"Destination ports that are left alone. Beats every include.",
			list(&c.ExcludeOutboundPorts, "", ports),
		},
		{
			contract.AnnotationIncludeOutboundRanges,
			[]string{istioTraffic + "includeOutboundIPRanges"},
			"`*`", cidrsOrAll,
			"Destinations whose connections go through the proxy. Empty: none. Loopback never is.",
			list(&c.IncludeOutboundCIDRs, everything, capturable),
		},
		{
			contract.AnnotationExcludeOutboundRanges,
			[]string{istioTraffic + "excludeOutboundIPRanges"},
			"none", cidrList,
			"Destinations that are left alone. Beats every include.",
			list(&c.ExcludeOutboundCIDRs, "", cidrs),
		},
		{
			contract.AnnotationExcludeInterfaces,
			[]string{istioTraffic + "excludeInterfaces"},
			"none", interfaceList,
			"What arrives over these network interfaces, or leaves through them, is left alone: a second network of the pod, say.",
			list(&c.ExcludeInterfaces, "", interfaces),
		},
	}
}

func (s *Settings) modeRows() []row {
	return []row{
		{
			contract.AnnotationInterceptionMode,
			[]string{istioSidecar + "interceptionMode"},
			"`redirect`", "`redirect`, `none`",
			"`none` redirects nothing, whoever captures (docs/capture.md): the application dials the proxy itself. Istio's `REDIRECT` and `NONE` are the same; `TPROXY` is refused.",
			choice(&s.Capture.Mode, map[string]Mode{"redirect": ModeRedirect, "REDIRECT": ModeRedirect, "none": ModeNone, "NONE": ModeNone}, "redirect, none"),
		},
		{
			contract.AnnotationInterceptionBackend, nil, "`auto`", "`auto`, `nftables`, `iptables`",
			"What the rules are written with. `auto` takes the first that works in the pod, or what the node's agent chose where the node captures. `iptables` needs the image variant `dataplane-iptables`, and gives the init container NET_RAW too; where the node captures, it needs the node's own iptables.",
			choice(&s.Capture.Backend, map[string]string{"auto": "auto", "nftables": "nftables", "iptables": "iptables"}, "auto, nftables, iptables"),
		},
	}
}

func (s *Settings) lifeRows() []row {
	return []row{
		{
			contract.AnnotationNativeSidecar,
			[]string{istioSidecar + "nativeSidecar"},
			"`true` where the cluster has native sidecars", "`true`, `false`",
			"`true`: the proxy is an init container that stays (KEP-753). It is ready before the application's init containers start, outlives the application, and lets Jobs end. `false`: an ordinary container; init containers then run before the capture, or without a network where the node captures.",
			maybe(&s.Native, boolean),
		},
		{
			contract.AnnotationHoldApplication,
			[]string{istioConfig + ": holdApplicationUntilProxyStarts"},
			"`true`", "`true`, `false`",
			"Without a native sidecar: start the application's containers only when the proxy is ready. A native sidecar always holds them.",
			value(&s.Hold, boolean),
		},
		{
			contract.AnnotationDrainTimeout,
			[]string{istioConfig + ": terminationDrainDuration"},
			"`30s`", durations(minDrain, maxWait),
			"How long the proxy, told to stop, waits for requests under way. Keep it below the pod's `terminationGracePeriodSeconds`.",
			value(&s.DrainTimeout, duration(minDrain, maxWait)),
		},
		{
			contract.AnnotationTerminationDelay, nil, "`5s`", durations(0, maxWait),
			"Without a native sidecar: how long after the pod's deletion began the proxy is told to stop, so that the application can still call others while it ends. A native sidecar is told when the application has ended.",
			value(&s.TerminationDelay, duration(0, maxWait)),
		},
	}
}

func (s *Settings) resourceRows() []row {
	return []row{
		{
			contract.AnnotationProxyCPURequest,
			[]string{istioSidecar + "proxyCPU"},
			"`10m`", cpuValues,
			"CPU that the scheduler keeps for the proxy.", maybe(&s.Requests.CPU, cpu),
		},
		{
			contract.AnnotationProxyCPULimit,
			[]string{istioSidecar + "proxyCPULimit"},
			"none", cpuValues,
			"CPU that the proxy is held to. Throttling adds its stalls to every call.", maybe(&s.Limits.CPU, cpu),
		},
		{
			contract.AnnotationProxyMemoryRequest,
			[]string{istioSidecar + "proxyMemory"},
			"`24Mi`, or the limit if that is less", memoryValues,
			"Memory that the scheduler keeps for the proxy.", maybe(&s.Requests.Memory, memory),
		},
		{
			contract.AnnotationProxyMemoryLimit,
			[]string{istioSidecar + "proxyMemoryLimit"},
			"`128Mi`, or the request if that is more", memoryValues,
			"Memory that the proxy is killed beyond. Half of it is the soft limit of its heap.", maybe(&s.Limits.Memory, memory),
		},
	}
}

func (s *Settings) proxyRows() []row {
	return []row{
		{
			contract.AnnotationProxyLogLevel,
			[]string{istioSidecar + "logLevel"},
			"`info`", "`debug`, `info`, `warn`, `error`",
			"What the proxy logs. Istio's `warning` is `warn`.",
			choice(&s.LogLevel, map[string]string{"debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error"}, "debug, info, warn, error"),
		},
		{
			contract.AnnotationProxyConcurrency,
			[]string{istioConfig + ": concurrency"},
			"`1`", "a number from 1 to 64",
			"Workers of the data path. More than one costs CPU for each request.",
			value(&s.Concurrency, number(1, maxConcurrency)),
		},
		{
			contract.AnnotationProxyEnv, nil, "none", "a mapping in JSON or YAML, such as `{\"GODEBUG\": \"gctrace=1\"}`",
			"Environment variables of the proxy's container. Those that the mesh sets itself are refused.",
			value(&s.Env, environment),
		},
		{
			contract.AnnotationProxyImage, nil, "as the webhook was told", "an image, such as `registry.example.com/dataplane:0.1.0`",
			"Image of both containers. Istio's `proxyImage` is not read: its images hold another proxy.",
			value(&s.Image, image),
		},
		{
			contract.AnnotationProxyImagePullPolicy, nil, "as the webhook was told", "`Always`, `IfNotPresent`, `Never`",
			"When the image is pulled.",
			choice(&s.PullPolicy, pullPolicies(), "Always, IfNotPresent, Never"),
		},
	}
}
