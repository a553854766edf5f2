// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// How often each contender has its turn: first for the time of apply alone, on a
// machine that does nothing else, and then for connections.
const (
	applyTurns = 21
	loadTurns  = 11
)

// contender is a way to steer a pod, or none at all.
type contender struct {
	name  string
	apply func(context.Context, redirect.Plan) error // nil for none
}

func contenders() []contender {
	out := []contender{{name: "none"}}
	for _, s := range subjects() {
		out = append(out, contender{s.name, applyOf(s)})
	}
	return append(
		out,
		contender{"per-rule-nft", perRule{"-nft"}.apply},
		contender{"per-rule-legacy", perRule{"-legacy"}.apply},
	)
}

func applyOf(s subject) func(context.Context, redirect.Plan) error {
	return func(ctx context.Context, p redirect.Plan) error {
		_, err := s.backend.Apply(ctx, p)
		return err
	}
}

// measured are the figures of one contender, one value for each turn.
type measured struct {
	applyMS, connectUS, connectionsPerSecond, roundTripUS []float64
}

// BenchmarkBackends measures all contenders in turn, each time in a fresh pod, so
// that what else the machine does hits them alike.
func BenchmarkBackends(b *testing.B) {
	p := plan(b, conformance.Settings()[0].Config)
	all := map[string]*measured{}
	for _, c := range contenders() {
		all[c.name] = &measured{}
	}
	inTurn(b, applyTurns, func(b *testing.B, c contender) {
		if c.apply != nil {
			all[c.name].applyMS = append(all[c.name].applyMS, c.steer(b, testnet.New(b), p))
		}
	})
	inTurn(b, loadTurns, func(b *testing.B, c contender) { all[c.name].load(b, c, p) })
	report(b, all)
}

// inTurn calls f for each contender, each time beginning with another. Each call
// gives back the descriptors that it took, of which nftables' library allows 1,024.
func inTurn(b *testing.B, turns int, f func(*testing.B, contender)) {
	b.Helper()
	order := contenders()
	for turn := range turns {
		for i := range order {
			c := order[(i+turn)%len(order)]
			b.Run(c.name, func(b *testing.B) { f(b, c) })
		}
	}
}

// steer applies the plan and returns how many milliseconds that took.
func (c contender) steer(b *testing.B, n *testnet.Namespace, p redirect.Plan) (ms float64) {
	b.Helper()
	n.Do(b, func() error {
		begin := time.Now()
		err := c.apply(b.Context(), p)
		ms = micros(time.Since(begin)) / 1000
		return err
	})
	return ms
}

func (m *measured) load(b *testing.B, c contender, p redirect.Plan) {
	b.Helper()
	_, pod := testnet.Pair(b)
	discard(b, pod, "[::]:15001")
	// Without rules the same listener is called, over the same interface.
	dest := testnet.PodV4 + ":15001"
	if c.apply != nil {
		dest = testnet.NodeV4 + ":80"
		c.steer(b, pod, p)
	}
	m.connectUS = append(m.connectUS, connectTime(b, pod, dest))
	m.roundTripUS = append(m.roundTripUS, roundTrip(b, pod, dest))
	m.connectionsPerSecond = append(m.connectionsPerSecond, connectionRate(b, pod, dest))
}

// report prints a table, and the figures below it.
func report(b *testing.B, all map[string]*measured) {
	var table strings.Builder
	fmt.Fprintf(&table, "median and [lowest to highest] of %d turns, of %d for apply\n%-16s %26s %26s %26s %26s\n",
		loadTurns, applyTurns, "", "apply ms", "connect us", "connections/s", "round trip us")
	for _, c := range contenders() {
		m := all[c.name]
		fmt.Fprintf(&table, "%-16s %26s %26s %26s %26s\n", c.name,
			spread(m.applyMS), spread(m.connectUS), spread(m.connectionsPerSecond), spread(m.roundTripUS))
	}
	b.Log(table.String())
	none, nft := all["none"], all["nftables"]
	for _, c := range contenders()[1:] {
		name := strings.ReplaceAll(c.name, "-", "_")
		figure.Publish(b, "redirect.apply_ms."+name, round(figure.Median(all[c.name].applyMS)), "ms")
		figure.Publish(b, "redirect.connect_added_us."+name, round(figure.Median(all[c.name].connectUS)-figure.Median(none.connectUS)), "us")
		figure.Publish(b, "redirect.conn_rate."+name, round(figure.Median(all[c.name].connectionsPerSecond)), "connections/s")
		figure.Publish(b, "redirect.round_trip_us."+name, round(figure.Median(all[c.name].roundTripUS)), "us")
	}
	// Against the faster variant of each peer.
	perRule := min(figure.Median(all["per-rule-nft"].applyMS), figure.Median(all["per-rule-legacy"].applyMS))
	figure.Publish(b, "redirect.apply_ms.vs_one_process_per_rule", round(figure.Median(nft.applyMS)/perRule), "ratio")
	figure.Publish(b, "redirect.conn_rate.nftables_vs_iptables", round(min(
		figure.Median(figure.Ratios(nft.connectionsPerSecond, all["iptables-nft"].connectionsPerSecond)),
		figure.Median(figure.Ratios(nft.connectionsPerSecond, all["iptables-legacy"].connectionsPerSecond)),
	)), "ratio")
}

func spread(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g [%.4g to %.4g]", figure.Median(values), slices.Min(values), slices.Max(values))
}

// round keeps four digits.
func round(v float64) string { return fmt.Sprintf("%.4g", v) }
