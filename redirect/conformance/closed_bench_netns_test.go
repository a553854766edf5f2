// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// inbound are the figures of one way to treat closed ports, for connections that
// arrive and are captured; one value for each turn.
type inbound struct {
	applyMS, connectUS, connectionsPerSecond []float64
}

// BenchmarkClosedPorts measures what it costs to ask who listens, by turns with
// not asking, each time in a fresh pod: first the time of apply alone, as
// BenchmarkBackends does, and then connections.
func BenchmarkClosedPorts(b *testing.B) {
	ways := []redirect.ClosedPorts{redirect.ClosedCapture, redirect.ClosedRefuse}
	all := map[string]*inbound{}
	inTurns := func(turns int, measure func(*inbound, subject, redirect.Plan)) {
		for turn := range turns {
			for _, s := range subjects() {
				for i := range ways {
					config := conformance.Settings()[0].Config
					config.ClosedPorts = ways[(turn+i)%len(ways)]
					name := s.name + " " + config.ClosedPorts.String()
					if all[name] == nil {
						all[name] = &inbound{}
					}
					measure(all[name], s, plan(b, config))
				}
			}
		}
	}
	inTurns(applyTurns, func(m *inbound, s subject, p redirect.Plan) {
		m.applyMS = append(m.applyMS, contender{s.name, applyOf(s)}.steer(b, testnet.New(b), p))
	})
	inTurns(loadTurns, func(m *inbound, s subject, p redirect.Plan) { m.load(b, s, p) })
	var table strings.Builder
	fmt.Fprintf(&table, "median and [lowest to highest] of %d turns, of %d for apply\n%-24s %26s %26s %26s\n", loadTurns, applyTurns, "", "apply ms", "connect us", "connections/s")
	for _, s := range subjects() {
		for _, way := range ways {
			name := s.name + " " + way.String()
			m := all[name]
			fmt.Fprintf(&table, "%-24s %26s %26s %26s\n", name, spread(m.applyMS), spread(m.connectUS), spread(m.connectionsPerSecond))
		}
		capture, refuse := all[s.name+" "+redirect.ClosedCapture.String()], all[s.name+" "+redirect.ClosedRefuse.String()]
		name := strings.ReplaceAll(s.name, "-", "_")
		figure.Publish(b, "redirect.closed_ports.apply_ratio."+name, round(figure.Median(figure.Ratios(refuse.applyMS, capture.applyMS))), "ratio")
		figure.Publish(b, "redirect.closed_ports.connect_ratio."+name, round(figure.Median(figure.Ratios(refuse.connectUS, capture.connectUS))), "ratio")
		figure.Publish(b, "redirect.closed_ports.conn_rate_ratio."+name, round(figure.Median(figure.Ratios(refuse.connectionsPerSecond, capture.connectionsPerSecond))), "ratio")
	}
	b.Log(table.String())
}

func (m *inbound) load(b *testing.B, s subject, p redirect.Plan) {
	b.Helper()
	node, pod := testnet.Pair(b)
	discard(b, pod, "[::]:15006")
	discard(b, pod, "[::]:8080")
	contender{s.name, applyOf(s)}.steer(b, pod, p)
	dest := testnet.PodV4 + ":8080"
	m.connectUS = append(m.connectUS, connectTime(b, node, dest))
	m.connectionsPerSecond = append(m.connectionsPerSecond, connectionRate(b, node, dest))
}
