// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

// Values are what the repetitions of one scenario gave: by target and metric,
// in the order of repetitions.
type Values map[string]map[Metric][]float64

// Goal bounds a figure, on one side. The zero Goal is of a figure that is for
// comparison alone.
type Goal struct {
	Most  float64 `json:"most,omitempty"`
	Least float64 `json:"least,omitempty"`
}

// Met tells whether a value is within it.
func (g Goal) Met(v float64) bool {
	if g == (Goal{}) {
		return true
	}
	if g.Least != 0 {
		return v >= g.Least
	}
	return v <= g.Most
}

// String is "<= 0.38" or ">= 1.1", and "-" for none.
func (g Goal) String() string {
	if g == (Goal{}) {
		return "-"
	}
	if g.Least != 0 {
		return fmt.Sprintf(">= %g", g.Least)
	}
	return fmt.Sprintf("<= %g", g.Most)
}

// Figure is one number, and mostly its goal.
type Figure struct {
	Name     string
	Scenario string
	Unit     string
	Goal     Goal
	// Of returns one value per repetition.
	Of func(Values) ([]float64, error)
}

// ErrNotMeasured says that a run did not give what a figure is made of.
var ErrNotMeasured = errors.New("not measured")

func (v Values) of(target string, m Metric) ([]float64, error) {
	values := v[target][m]
	if len(values) == 0 {
		return nil, fmt.Errorf("%s of %s: %w", m, target, ErrNotMeasured)
	}
	return values, nil
}

// ratio divides one target's metric by another's.
func ratio(m Metric, a, b string) func(Values) ([]float64, error) {
	return func(v Values) ([]float64, error) {
		x, err := v.of(a, m)
		if err != nil {
			return nil, err
		}
		y, err := v.of(b, m)
		if err != nil {
			return nil, err
		}
		return measure.Ratios(x, y)
	}
}

// added divides what one target adds to the direct way by what another adds.
func added(m Metric, a, b string) func(Values) ([]float64, error) {
	return func(v Values) ([]float64, error) {
		var over [2][]float64
		direct, err := v.of(Direct, m)
		if err != nil {
			return nil, err
		}
		for i, target := range []string{a, b} {
			with, err := v.of(target, m)
			if err != nil {
				return nil, err
			}
			if over[i], err = measure.Added(with, direct); err != nil {
				return nil, err
			}
		}
		return measure.Ratios(over[0], over[1])
	}
}

// scaled is a metric of ours, times a factor.
func scaled(m Metric, factor float64) func(Values) ([]float64, error) {
	return func(v Values) ([]float64, error) {
		values, err := v.of(Shunt, m)
		if err != nil {
			return nil, err
		}
		out := make([]float64, len(values))
		for i := range values {
			out[i] = values[i] * factor
		}
		return out, nil
	}
}

// plain is a metric of one target as it is.
func plain(m Metric, target string) func(Values) ([]float64, error) {
	return func(v Values) ([]float64, error) { return v.of(target, m) }
}

// perThousand turns KiB per connection into MiB per 1000 of them.
const perThousand = 1000.0 / 1024

// Figures is the table of figures and goals.
func Figures() []Figure { return append(goals(), compared()...) }

// compared are figures without a goal: ours beside the others'.
func compared() []Figure {
	var out []Figure
	add := func(name, of, unit string, m Metric, targets ...string) {
		for _, t := range targets {
			out = append(out, Figure{Name: name + "." + t, Scenario: of, Unit: unit, Of: plain(m, t)})
		}
	}
	add("bench.grpc.p99_us.2krps", "grpc.2krps", "us", P99, Direct, HAProxy, Nginx, Envoy, Shunt)
	add("bench.grpc.p99_us.8krps", "grpc.8krps", "us", P99, Direct, HAProxy, Shunt)
	add("bench.tls.handshakes.p99_us", "tls.handshakes", "us", P99, HAProxy, Nginx, Shunt)
	add("bench.tls.handshakes.max_stall_ms", "tls.handshakes", "ms", Longest, HAProxy, Nginx, Shunt)
	return out
}

func goals() []Figure {
	most := func(v float64) Goal { return Goal{Most: v} }
	least := func(v float64) Goal { return Goal{Least: v} }
	vs := func(peer string) func(Values) ([]float64, error) { return ratio(CPU, Shunt, peer) }
	return []Figure{
		{"bench.grpc.c8m10.cpu_vs_haproxy", "grpc.c8m10", "ratio", most(0.38), vs(HAProxy)},
		{"bench.grpc.c8m10.cpu_vs_nginx", "grpc.c8m10", "ratio", most(0.16), vs(Nginx)},
		{"bench.grpc.c8m10.cpu_vs_envoy", "grpc.c8m10", "ratio", most(0.10), vs(Envoy)},
		{"bench.grpc.c50m1.cpu_vs_haproxy", "grpc.c50m1", "ratio", most(0.50), vs(HAProxy)},
		{"bench.grpc.2krps.cpu_vs_haproxy", "grpc.2krps", "ratio", most(0.60), vs(HAProxy)},
		{"bench.grpc.8ep.cpu_vs_haproxy", "grpc.8ep", "ratio", most(0.45), vs(HAProxy)},
		{"bench.grpc.200kB.cpu_vs_nginx", "grpc.200kB", "ratio", most(0.9), vs(Nginx)},
		{"bench.grpc.200kB.cpu_vs_haproxy", "grpc.200kB", "ratio", most(0.5), vs(HAProxy)},
		{"bench.grpc.added_p50_vs_haproxy.2krps", "grpc.2krps", "ratio", most(0.5), added(P50, Shunt, HAProxy)},
		{"bench.grpc.added_p50_vs_haproxy.8krps", "grpc.8krps", "ratio", most(0.25), added(P50, Shunt, HAProxy)},
		{"bench.loop.max_stall_ms", "loop", "ms", most(1), scaled(Stall, 1)},
		{"bench.http1.rps_vs_nginx", "http1", "ratio", least(1.10), ratio(Rate, Shunt, Nginx)},
		{"bench.http1.cpu_vs_nginx", "http1", "ratio", most(0.85), vs(Nginx)},
		{"bench.tcp.bulk_vs_haproxy", "tcp.bulk", "ratio", least(1.05), ratio(Throughput, Shunt, HAProxy)},
		{"bench.tcp.cpu_per_gib_vs_haproxy", "tcp.bulk", "ratio", most(0.60), ratio(CPUPerGiB, Shunt, HAProxy)},
		{"bench.tcp.pingpong_cpu_vs_haproxy", "tcp.pingpong", "ratio", most(1.0), vs(HAProxy)},
		{"bench.tls.c8m10.cpu_vs_haproxy", "tls.c8m10", "ratio", most(0.40), vs(HAProxy)},
		{"bench.tls.c50m1.cpu_vs_haproxy", "tls.c50m1", "ratio", most(0.55), vs(HAProxy)},
		{"bench.mtls.c8m10.cpu_vs_haproxy", "mtls.c8m10", "ratio", most(0.30), vs(HAProxy)},
		{"bench.mtls.c8m10.cpu_vs_plain", "mtls.c8m10", "ratio", most(1.15), vs(ShuntPlain)},
		{"bench.tls.200kB.cpu_vs_nginx", "tls.200kB", "ratio", most(1.1), vs(Nginx)},
		{"bench.tls.idle_kib_per_conn", "tls.idle", "KiB", most(16), scaled(PerConn, 1)},
		{"bench.rss_idle_mib", "memory.idle", "MiB", most(20), scaled(RSS, 1)},
		{"bench.private_idle_mib", "memory.idle", "MiB", most(8), scaled(Private, 1)},
		{"bench.rss_per_1k_h2_conns_mib", "memory.h2", "MiB", most(2.5), scaled(PerConn, perThousand)},
		{"bench.rss_per_1k_tcp_pairs_mib", "memory.tcp", "MiB", most(1), scaled(PerConn, perThousand)},
		{"bench.rss_per_10k_endpoints_mib", "memory.endpoints", "MiB", most(5), scaled(Per10k, 1)},
	}
}
