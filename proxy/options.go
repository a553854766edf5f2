// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/admin"
	"github.com/shuntmesh/shunt/proxy/exchange"
	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/h2"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// Options of a proxy. DefaultOptions has a value for each but the Resolver.
type Options struct {
	Resolver Resolver       // nil passes everything outbound through
	Origin   origdst.Finder // where a redirected connection was going
	Stats    *stats.Stats
	Log      *slog.Logger

	// PodIPs are the addresses that inbound serves; none means those of the
	// network interfaces.
	PodIPs []netip.Addr
	// InboundSource4 and 6 are where inbound dials the application from. The
	// redirection rules leave them alone; without them a call would loop.
	InboundSource4, InboundSource6 netip.Addr

	OutboundListen string // host:port; without a host for IPv4 and IPv6
	InboundListen  string
	AdminListen    string // loopback: read-only
	ReadyListen    string
	MetricsListen  string
	MergedListen   string // the application's metrics among ours; "" is none
	AdminSocket    string // path of the unix socket that takes commands; "" is none

	AppMetrics contract.Scrape // what MergedListen asks; none: the proxy's metrics alone

	TLS TLS

	// The limits; Limits tells about each. Those of HTTP are in HTTP1, HTTP2 and
	// Exchange.
	DrainTimeout     time.Duration // from the end of ctx to the cut
	ConnectTimeout   time.Duration // of one attempt
	ResolveTimeout   time.Duration // of the question to discovery, then passed through
	DetectTimeout    time.Duration // see detect.Options; not on the way of any known protocol
	HandshakeTimeout time.Duration // of TLS
	IdleTimeout      time.Duration // of relayed TCP; 0 is never
	CloseTimeout     time.Duration // for a peer that does not take the rest
	MaxConnections   int           // per direction
	MaxDescriptors   int           // of the process; 0 leaves what it was given
	MaxHandshakes    int           // of TLS, under way at once, per direction
	MaxUnsent        int           // bytes, for one peer, before the other side has to wait
	MaxAppMetrics    int           // bytes of the application's metrics
	AppMetricsTime   time.Duration // of one question for them
	HTTP1            h1.Limits
	HTTP2            h2.Limits
	Exchange         exchange.Limits

	Concurrency int // the most workers of the data path; one is at work until it is busy

	MemoryLimit int64 // soft, of the Go heap, in bytes; 0 leaves it
	GCPercent   int   // 0 leaves it
}

// mostWorkers bounds the default of Concurrency: four workers move what a pod
// may be expected to ask for, also on a node with many cores.
const mostWorkers = 4

// DefaultOptions returns what a sidecar runs with.
func DefaultOptions() Options {
	port := func(n int) string { return ":" + strconv.Itoa(n) }
	return Options{
		Origin:           origdst.Netfilter{},
		Stats:            stats.New(),
		Log:              slog.New(slog.DiscardHandler),
		InboundSource4:   netip.MustParseAddr(contract.InboundDialSourceV4),
		InboundSource6:   netip.MustParseAddr(contract.InboundDialSourceV6),
		OutboundListen:   port(contract.PortOutbound),
		InboundListen:    port(contract.PortInbound),
		AdminListen:      "127.0.0.1" + port(contract.PortAdmin),
		ReadyListen:      port(contract.PortReady),
		MetricsListen:    port(contract.PortProxyMetrics),
		AdminSocket:      contract.AdminSocket,
		TLS:              TLS{Inbound: TLSOff},
		DrainTimeout:     30 * time.Second,
		ConnectTimeout:   time.Second,
		ResolveTimeout:   2 * time.Second,
		DetectTimeout:    10 * time.Second,
		HandshakeTimeout: transport.DefaultDeadline,
		IdleTimeout:      24 * time.Hour,
		CloseTimeout:     loop.DefaultCloseTimeout,
		MaxConnections:   10_000,
		MaxHandshakes:    transport.DefaultHalfOpen,
		MaxUnsent:        loop.DefaultHighWater,
		MaxAppMetrics:    8 << 20,
		AppMetricsTime:   5 * time.Second,
		HTTP1:            h1.DefaultLimits(),
		HTTP2:            h2.DefaultLimits(),
		Exchange:         exchange.DefaultLimits(),
		Concurrency:      min(runtime.GOMAXPROCS(0), mostWorkers),
		MemoryLimit:      64 << 20,
		GCPercent:        50,
	}
}

// validate names the first option that can't be, and completes PodIPs.
func (o *Options) validate() error {
	for _, a := range []struct{ name, value string }{
		{"outbound-listen", o.OutboundListen},
		{"inbound-listen", o.InboundListen},
		{"admin-listen", o.AdminListen},
		{"ready-listen", o.ReadyListen},
		{"metrics-listen", o.MetricsListen},
		{"merged-metrics-listen", cmp.Or(o.MergedListen, ":")}, // none is allowed
	} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return fmt.Errorf("option %s: %q is no address (allowed: host:port or :port): %w", a.name, a.value, err)
		}
	}
	for _, l := range o.Limits() {
		if err := l.Value.Check(); err != nil {
			return fmt.Errorf("option %s: %w", l.Flag(), err)
		}
	}
	if low := 2 * o.MaxUnsent; o.HTTP2.MaxOutput < low {
		return fmt.Errorf("option max-output-bytes: %d (allowed: twice max-unsent-bytes or more, %d: a body stops there, and ends no connection)", o.HTTP2.MaxOutput, low)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("option concurrency: %d (allowed: 1 or more)", o.Concurrency)
	}
	if err := o.TLS.Inbound.validate(); err != nil {
		return err
	}
	return o.completePodIPs()
}

func (o *Options) completePodIPs() error {
	if len(o.PodIPs) > 0 {
		return nil
	}
	var err error
	if o.PodIPs, err = localAddrs(); err != nil {
		return fmt.Errorf("list addresses of the pod (or name them with pod-ips): %w", err)
	}
	return nil
}

func (p *proxy) adminOptions() admin.Options {
	o := p.options
	return admin.Options{
		AdminListen:   o.AdminListen,
		ReadyListen:   o.ReadyListen,
		MetricsListen: o.MetricsListen,
		MergedListen:  o.MergedListen,
		Socket:        o.AdminSocket,
		Log:           o.Log,
		Metrics:       o.Stats.WritePrometheus,
		Merged:        p.merged(),
		Ready:         p.ready.Load,
		Drain:         p.drain,
		Config:        p.config,
	}
}

// config is what config_dump shows.
func (p *proxy) config() any {
	dump := struct {
		State    int64        `json:"state"`
		PodIPs   []netip.Addr `json:"podIPs"`
		Snapshot any          `json:"snapshot,omitempty"`
	}{State: p.state.Load(), PodIPs: p.options.PodIPs}
	if p.options.Resolver != nil {
		dump.Snapshot = p.options.Resolver.Snapshot().Dump()
	}
	return dump
}
