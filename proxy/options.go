// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/admin"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/stats"
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
	AdminSocket    string // path of the unix socket that takes commands; "" is none

	TLS TLS

	DrainTimeout   time.Duration // from the end of ctx to the cut
	ConnectTimeout time.Duration // of one attempt
	ResolveTimeout time.Duration // of the question to discovery, then passed through
	DetectTimeout  time.Duration // see detect.Options; not on the way of any known protocol
	HeaderTimeout  time.Duration // of one HTTP/1 request header
	IdleTimeout    time.Duration // of relayed TCP; 0 is never

	Concurrency    int // the most workers of the data path; one is at work until it is busy
	MaxConnections int // per direction
	MaxStreams     int // per HTTP/2 connection
	MaxHeaderBytes int // per request

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
		Origin:         origdst.Netfilter{},
		Stats:          stats.New(),
		Log:            slog.New(slog.DiscardHandler),
		InboundSource4: netip.MustParseAddr(contract.InboundDialSourceV4),
		InboundSource6: netip.MustParseAddr(contract.InboundDialSourceV6),
		OutboundListen: port(contract.PortOutbound),
		InboundListen:  port(contract.PortInbound),
		AdminListen:    "127.0.0.1" + port(contract.PortAdmin),
		ReadyListen:    port(contract.PortReady),
		MetricsListen:  port(contract.PortProxyMetrics),
		AdminSocket:    contract.AdminSocket,
		TLS:            TLS{Inbound: TLSOff},
		DrainTimeout:   30 * time.Second,
		ConnectTimeout: time.Second,
		ResolveTimeout: 2 * time.Second,
		DetectTimeout:  10 * time.Second,
		HeaderTimeout:  10 * time.Second,
		IdleTimeout:    24 * time.Hour,
		Concurrency:    min(runtime.GOMAXPROCS(0), mostWorkers),
		MaxConnections: 10_000,
		MaxStreams:     1000,
		MaxHeaderBytes: 64 << 10,
		MemoryLimit:    64 << 20,
		GCPercent:      50,
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
	} {
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			return fmt.Errorf("option %s: %q is no address (allowed: host:port or :port): %w", a.name, a.value, err)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"drain-timeout", o.DrainTimeout},
		{"connect-timeout", o.ConnectTimeout},
		{"resolve-timeout", o.ResolveTimeout},
		{"detect-timeout", o.DetectTimeout},
		{"header-timeout", o.HeaderTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("option %s: %v (allowed: more than 0, such as 10s)", d.name, d.value)
		}
	}
	for _, n := range []struct {
		name       string
		value, low int
	}{
		{"concurrency", o.Concurrency, 1}, {"max-connections", o.MaxConnections, 1}, {"max-streams", o.MaxStreams, 1}, {"max-header-bytes", o.MaxHeaderBytes, 1024},
	} {
		if n.value < n.low {
			return fmt.Errorf("option %s: %d (allowed: %d or more)", n.name, n.value, n.low)
		}
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
		Socket:        o.AdminSocket,
		Log:           o.Log,
		Metrics:       o.Stats.WritePrometheus,
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
