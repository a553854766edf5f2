// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/peers"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// control is a running discovery.
type control struct {
	process *process.Process
	address string
	caFile  string
}

func (r *run) control(ctx context.Context, args ...string) (*control, error) {
	free, err := r.setup.Ports.FreeN(2)
	if err != nil {
		return nil, err
	}
	c := &control{
		address: fmt.Sprintf("localhost:%d", free[0].Port()), // the name in its certificate
		caFile:  filepath.Join(r.setup.Dir, "discovery-ca.pem"),
	}
	if err := os.RemoveAll(c.caFile); err != nil {
		return nil, err
	}
	c.process, err = process.Start(process.Spec{
		Name: "control", Path: r.setup.Tools["control"].Path, Log: filepath.Join(r.setup.Dir, "control.log"),
		Args: append([]string{"-listen", free[0].String(), "-listen-http", free[1].String(), "-ca", c.caFile}, args...),
	})
	if err != nil {
		return nil, err
	}
	if err := c.process.Listens(ctx, free[0]); err != nil {
		return nil, errors.Join(err, c.process.Stop())
	}
	for range 200 {
		if b, err := os.ReadFile(c.caFile); err == nil && len(b) > 0 {
			return c, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.Join(errors.New("discovery did not write its certificate"), c.process.Stop())
}

// waitCounter waits, at most 5 s, until a metric has a value.
func waitCounter(ctx context.Context, url, metric string, want float64) error {
	var got float64
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(20 * time.Millisecond) {
		c, err := measure.ReadCounters(ctx, url)
		if err != nil {
			return err
		}
		if got, _ = c.Sum(metric); got == want {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, want %v", metric, got, want)
}

// stallMetric is the longest time between two turns of the proxy's loop.
const stallMetric = "shunt_proxy_loop_max_stall_seconds"

// churn sends requests while discovery changes the endpoints. The process is
// fresh each time, since the metric is the longest since its start.
func (r *run) churn(ctx context.Context, s scenario.Scenario) (out sample, err error) {
	b, err := r.backend(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	c, err := r.control(ctx, "-services", "1", "-backends", joined(b.addresses), "-changes", fmt.Sprint(scenario.ChangesPerSecond))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.process.Stop()) }()
	t, err := r.setup.Start(ctx, scenario.Shunt, peers.Ask{Protocol: s.Protocol, Discovery: peers.Discovery{
		Address: c.address, CAFile: c.caFile, VIPs: serviceVIP(0).String(),
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	if err := load.Probe(ctx, t.Aim, s.Protocol, s.Load.Payload); err != nil {
		return nil, err
	}
	before, err := measure.ReadCounters(ctx, t.Metrics)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	o, err := load.H2Load(ctx, r.setup.Tools["h2load"], t.Aim, s.Load, r.setup.Dir)
	if err != nil {
		return nil, err
	}
	after, err := measure.ReadCounters(ctx, t.Metrics)
	if err != nil {
		return nil, err
	}
	return churned(s, o, delta{before, after}, time.Since(begin))
}

// churned makes the sample, if changes did arrive and no request failed of
// them. Discovery sends changes within 10 ms of one another together, so that
// fewer updates arrive than changes were made.
func churned(s scenario.Scenario, o load.Outcome, d delta, took time.Duration) (sample, error) {
	updates := d.of("shunt_proxy_discovery_updates_total") / took.Seconds()
	if least := scenario.ChangesPerSecond / 4.0; updates < least {
		return nil, fmt.Errorf("%.0f updates a second were taken over (at least %.0f are wanted)", updates, least)
	}
	if err := errors.Join(checkOutcome(s, s.Load, o), zero(d, "shunt_proxy_errors_total"), zero(d, "shunt_proxy_passthrough_total")); err != nil {
		return nil, err
	}
	out := sample{
		scenario.Updates: updates,
		scenario.P50:     o.P50.Seconds() * 1e6,
		scenario.P99:     o.P99.Seconds() * 1e6,
	}
	if stall, ok := d.after.Sum(stallMetric); ok {
		out[scenario.Stall] = stall * 1e3
	}
	return out, nil
}
