// SPDX-License-Identifier: Apache-2.0

// Package load sends traffic and tells what came back. h2load, wrk and iperf3
// are run as programs; what they can't do (deadlines, ping-pong over TCP, idle
// connections, a look at one answer) is here.
package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

// Tool is a program and what it needs in its environment.
type Tool struct {
	Path string
	Env  []string
}

// Outcome is what one run got back.
type Outcome struct {
	Requests int // answered, and well
	Failed   int // everything else
	Elapsed  time.Duration
	Bytes    int64 // of message bodies (or of the stream) that came back
	P50, P99 time.Duration
	Longest  time.Duration // of all answers
	Burst    time.Duration // see Handshakes
}

// What requests look like to every target. The authority and the path are those
// of the last of the sidecar's routes.
const (
	Authority = "shop-9.bench.test"
	Path      = "/bench.Echo/Unary"
	// Timeout goes with each gRPC call, so that deadlines are kept by who
	// keeps them.
	Timeout = "10S"
)

// Aim is where requests go.
type Aim struct {
	Address netip.AddrPort
	TLS     bool
}

// URL of the method.
func (a Aim) URL() string {
	scheme := "http"
	if a.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%v%s", scheme, a.Address, Path)
}

// Message is a gRPC message of n bytes in its frame: "compressed" flag and length
// (gRPC over HTTP2, Length-Prefixed-Message). The bytes repeat with a period
// that is no power of two, so that a piece that is lost or twice there shows.
func Message(n int) []byte {
	out := make([]byte, 5, 5+n)
	binary.BigEndian.PutUint32(out[1:], uint32(n))
	for i := range n {
		out = append(out, byte('a'+i%23))
	}
	return out
}

// setLatency fills in the percentiles.
func (o *Outcome) setLatency(all []time.Duration) {
	slices.Sort(all)
	o.P50, _ = measure.Percentile(all, 0.5)
	o.P99, _ = measure.Percentile(all, 0.99)
	o.Longest, _ = measure.Percentile(all, 1)
}
