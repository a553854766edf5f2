// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/peers"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// standing is a backend and all targets before it, up for all repetitions. A
// target that is not loaded waits in its poll and costs nothing.
type standing struct {
	run     *run
	s       scenario.Scenario
	backend *backend
	targets map[string]*peers.Target
	broken  map[string]error
}

func (r *run) stand(ctx context.Context, s scenario.Scenario, names []string) (*standing, error) {
	b, err := r.backend(ctx, s)
	if err != nil {
		return nil, err
	}
	st := &standing{run: r, s: s, backend: b, targets: map[string]*peers.Target{}, broken: map[string]error{}}
	for _, name := range names {
		t, err := r.setup.Start(ctx, name, peers.Ask{Protocol: s.Protocol, TLS: s.TLS, Backends: b.addresses})
		if err != nil {
			st.broken[name] = err
			continue
		}
		st.targets[name] = t
		if err := st.warm(ctx, t); err != nil {
			st.broken[name] = err
		}
	}
	return st, nil
}

// warm looks at one answer, and sends a tenth of the load: connections are
// made, pools filled.
func (st *standing) warm(ctx context.Context, t *peers.Target) error {
	if st.s.Kind != scenario.Bulk {
		if err := load.Probe(ctx, t.Aim, st.s.Protocol, st.s.Load.Payload); err != nil {
			return err
		}
	}
	l := st.s.For(t.Name)
	l.Requests = max(l.Requests/10, l.Connections*max(l.Streams, 1))
	l.Duration = min(l.Duration, time.Second)
	_, err := st.send(ctx, t, l)
	return err
}

func (st *standing) stop() error {
	var errs []error
	for _, t := range st.targets {
		errs = append(errs, t.Stop())
	}
	return errors.Join(append(errs, st.backend.stop())...)
}

func (st *standing) send(ctx context.Context, t *peers.Target, l scenario.Load) (load.Outcome, error) {
	tools := st.run.setup.Tools
	switch {
	case st.s.Kind == scenario.Bulk:
		return load.IPerf3(ctx, tools["iperf3"], t.Aim, l)
	case st.s.Kind == scenario.PingPong:
		return load.PingPong(ctx, t.Aim, l)
	case st.s.Kind == scenario.Handshakes:
		return load.Handshakes(ctx, tools["h2load"], t.Aim, l, st.run.setup.Dir)
	case st.s.Kind == scenario.Deadlines:
		return load.GRPC(ctx, t.Aim, l)
	case st.s.Protocol == scenario.HTTP1:
		return load.Wrk(ctx, tools["wrk"], t.Aim, l)
	default:
		return load.H2Load(ctx, tools["h2load"], t.Aim, l, st.run.setup.Dir)
	}
}

// reading is what everyone has counted so far.
type reading struct {
	proxy, backend time.Duration
	answered       map[string]int
	counters       measure.Counters // nil for peers
}

// settle is the time in which the end of a load (closed connections, counters
// that follow an answer) has been worked off.
const settle = 100 * time.Millisecond

func (st *standing) read(ctx context.Context, t *peers.Target) (r reading, err error) {
	time.Sleep(settle)
	if r.proxy, err = t.CPU(); err != nil {
		return r, err
	}
	if r.backend, err = st.backend.cpu(); err != nil {
		return r, err
	}
	if r.answered, err = st.backend.answered(ctx); err != nil {
		return r, err
	}
	if t.Metrics != "" {
		r.counters, err = measure.ReadCounters(ctx, t.Metrics)
	}
	return r, err
}

// trial sends the load once. What it costs ours to show its counters lies
// outside of the two readings of the CPU.
func (st *standing) trial(ctx context.Context, name string) (sample, error) {
	t := st.targets[name]
	before, err := st.read(ctx, t)
	if err != nil {
		return nil, err
	}
	if before.proxy, err = t.CPU(); err != nil { // anew, now that counters were shown
		return nil, err
	}
	l := st.s.For(name)
	out, err := st.send(ctx, t, l)
	if err != nil {
		return nil, err
	}
	after, err := st.read(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := check(st.s, l, out, before, after); err != nil {
		return nil, fmt.Errorf("what was measured is not what was meant: %w", err)
	}
	return values(st.s, name, out, before, after), nil
}

// values are the metrics of one trial.
func values(s scenario.Scenario, target string, o load.Outcome, before, after reading) sample {
	cpu := after.proxy - before.proxy
	out := sample{}
	if s.Kind == scenario.Bulk {
		out[scenario.Throughput] = float64(o.Bytes) * 8 / 1e9 / o.Elapsed.Seconds()
		if target != scenario.Direct {
			out[scenario.CPUPerGiB] = cpu.Seconds() * 1e3 / (float64(o.Bytes) / (1 << 30))
		}
		return out
	}
	if s.Kind == scenario.Handshakes {
		return sample{
			scenario.P50: o.P50.Seconds() * 1e6, scenario.P99: o.P99.Seconds() * 1e6,
			scenario.Longest: o.Longest.Seconds() * 1e3, scenario.Burst: o.Burst.Seconds() * 1e3,
		}
	}
	per := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(o.Requests) }
	if target != scenario.Direct {
		out[scenario.CPU] = per(cpu)
	}
	out[scenario.BackendCPU] = per(after.backend - before.backend)
	out[scenario.Rate] = float64(o.Requests) / o.Elapsed.Seconds()
	out[scenario.P50] = o.P50.Seconds() * 1e6
	out[scenario.P99] = o.P99.Seconds() * 1e6
	return out
}
