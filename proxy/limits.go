// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"strings"
	"time"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/h2"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/tcp"
)

// Limit tells about one limit: it makes a flag, a value of the label "limit" in
// shunt_proxy_limit_hits_total, and a row in docs/protocols.md.
type Limit struct {
	Name  stats.Limit
	Value Value
	What  string // is limited
	Hit   string // what happens then
}

// Flag is what the limit is called on the command line: a count is a maximum.
func (l Limit) Flag() string {
	name := string(l.Name)
	if strings.HasSuffix(name, "-timeout") || strings.HasSuffix(name, "-window-bytes") {
		return name
	}
	return "max-" + name
}

// Limits tells about all limits of o. Setting a Value changes o.
func (o *Options) Limits() []Limit {
	return append(o.counts(), o.timeouts()...)
}

// counts are the limits in connections, frames and bytes. The upper bounds keep
// what can be computed with them within an int32, and a mistyped number from
// meaning no limit at all.
func (o *Options) counts() []Limit {
	const many, large, largest = 1 << 20, 16 << 20, 1 << 30
	one, two, x := &o.HTTP1, &o.HTTP2, &o.Exchange
	return []Limit{
		{stats.LimitConnections, number(1, many, &o.MaxConnections), "connections open at once, for each direction", "accepting waits"},
		{stats.LimitDescriptors, number(0, largest, &o.MaxDescriptors), "file descriptors of the process; 0 leaves what it was given", "accepting waits, 5 ms to 1 s; requests get `no-descriptors`"},
		{stats.LimitHandshakes, number(1, many, &o.MaxHandshakes), "TLS handshakes under way, for each direction", "the connection is closed"},
		{stats.LimitEndpointConns, number(1, many, &x.MaxEndpointConns), "HTTP/2 connections of a worker to one endpoint for want of streams", "requests wait"},
		{h2.LimitStreams, number(1, many, &two.MaxStreams), "streams open at once on the connection of an HTTP/2 client", "REFUSED_STREAM"},
		{h1.LimitHeaderBytes, number(1<<10, large, &one.MaxHeaderBytes, &two.MaxHeaderBytes), "bytes of one head or trailer section", "431; a reset where it is an answer; GOAWAY(ENHANCE_YOUR_CALM) at twice as many that are encoded"},
		{h1.LimitFields, number(8, many, &one.MaxFields), "fields of an HTTP/1 head", "431"},
		{h1.LimitInterim, number(1, many, &one.MaxInterim), "1xx answers to one HTTP/1 request", "`upstream-invalid`"},
		{h1.LimitExtension, number(1, large, &one.MaxExtension), "bytes of the chunk extensions in one HTTP/1 message", "400"},
		{h2.LimitContinuations, number(1, many, &two.MaxContinuations), "CONTINUATION frames after one HEADERS", "GOAWAY(ENHANCE_YOUR_CALM)"},
		{h2.LimitResets, number(1, many, &two.MaxResets), "streams reset soon after the request, more than other ones (CVE-2023-44487, CVE-2025-8671)", "GOAWAY(ENHANCE_YOUR_CALM)"},
		{h2.LimitControl, number(100, many, &two.MaxControl), "HTTP/2 frames without data or requests in between", "GOAWAY(ENHANCE_YOUR_CALM)"},
		{h2.LimitOutput, number(64<<10, largest, &two.MaxOutput), "bytes of control frames and heads for an HTTP/2 peer that sends and does not read", "the connection is reset"},
		{h1.LimitPipelined, number(1<<10, large, &one.MaxPipelined), "bytes held behind an HTTP/1 request that is being answered", "reading from the client stops"},
		{h2.LimitWindow, number(65535, largest, &two.StreamWindow), "bytes held of one HTTP/2 body that the other side is slow to take", "its window is closed"},
		{h1.LimitWindow, number(1<<10, largest, &one.Window), "bytes held of one HTTP/1 body that the other side is slow to take", "reading stops"},
		{tcp.LimitUnsent, number(32<<10, largest, &o.MaxUnsent), "bytes held for a peer that is slow to read", "reading from the other side stops"},
		{stats.LimitAppMetrics, number(1<<10, large, &o.MaxAppMetrics), "bytes of the application's metrics, where the proxy is asked for them", "they are left out"},
		{stats.LimitReplay, number(0, large, &x.MaxReplay), "bytes of a request's body kept for another attempt", "no other attempt"},
	}
}

// timeouts are the limits in time.
func (o *Options) timeouts() []Limit {
	const moment = time.Millisecond
	x := &o.Exchange
	return []Limit{
		{stats.LimitConnect, span(moment, &o.ConnectTimeout), "one attempt to connect to an endpoint", "another endpoint, or `connect-timeout`"},
		{stats.LimitResolve, span(moment, &o.ResolveTimeout), "a question to discovery", "the connection is passed through"},
		{stats.LimitDetect, span(moment, &o.DetectTimeout), "a client that stops in the middle of what looks like HTTP, or says nothing and has no endpoint", "it is relayed as TCP; `detect-timeout`"},
		{stats.LimitHandshake, span(moment, &o.HandshakeTimeout), "one TLS handshake", "the connection is closed"},
		{stats.LimitHeader, span(moment, &x.HeaderTimeout), "one HTTP/1 request head; it is looked at as often, so up to twice as long", "reset"},
		{stats.LimitSettings, span(moment, &x.SettingsTimeout), "the acknowledgement of SETTINGS by an HTTP/2 peer", "GOAWAY(SETTINGS_TIMEOUT)"},
		{stats.LimitIdleHTTP1, span(moment, &x.IdleHTTP1), "an idle HTTP/1 connection to an endpoint", "it is closed"},
		{stats.LimitIdleHTTP2, span(moment, &x.IdleHTTP2), "an idle HTTP/2 connection to an endpoint", "it is closed"},
		{tcp.LimitIdle, span(0, &o.IdleTimeout), "relayed TCP without a byte; 0 is for ever", "reset"},
		{stats.LimitClose, span(moment, &o.CloseTimeout), "a peer that does not take the rest before a close", "reset"},
		{stats.LimitAppMetricsTime, span(moment, &o.AppMetricsTime), "a question to the application for its metrics", "they are left out"},
		{stats.LimitDrain, span(moment, &o.DrainTimeout), "what is under way, after SIGTERM", "reset"},
	}
}
