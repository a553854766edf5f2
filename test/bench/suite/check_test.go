// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// good is a trial of 1000 calls over two endpoints in which all is as it should
// be. Counters don't begin at zero.
func good() (s scenario.Scenario, l scenario.Load, o load.Outcome, before, after reading) {
	s = scenario.Scenario{Protocol: scenario.GRPC, Endpoints: 2}
	l = scenario.Load{Connections: 8, Streams: 10, Requests: 1000, Payload: 100}
	o = load.Outcome{Requests: 1000, Elapsed: time.Second, Bytes: 105_000}
	counters := func(n int) measure.Counters {
		c, err := measure.ParseCounters(strings.NewReader(fmt.Sprintf(`
shunt_proxy_requests_total{direction="outbound",service="echo.bench.svc.cluster.local:80",protocol="http2",class="2xx"} %d
shunt_proxy_grpc_responses_total{direction="outbound",service="echo.bench.svc.cluster.local:80",grpc_status="0"} %d
shunt_proxy_errors_total{direction="outbound",reason="no-route"} 3
`, n, n)))
		if err != nil {
			panic(err)
		}
		return c
	}
	before = reading{answered: map[string]int{"a": 7, "b": 1}, counters: counters(11)}
	after = reading{answered: map[string]int{"a": 507, "b": 501}, counters: counters(1011)}
	return
}

func TestCheck(t *testing.T) {
	s, l, o, before, after := good()
	if err := check(s, l, o, before, after); err != nil {
		t.Errorf("a good trial: %v", err)
	}
	for want, spoil := range map[string]func(*load.Outcome, *reading){
		"3 requests failed":           func(o *load.Outcome, _ *reading) { o.Failed = 3 },
		"nothing was answered":        func(o *load.Outcome, _ *reading) { o.Requests = 0 },
		"999 of 1000":                 func(o *load.Outcome, _ *reading) { o.Requests = 999 },
		"less than 100 each":          func(o *load.Outcome, _ *reading) { o.Bytes = 99_999 },
		"the backend counted 1001":    func(_ *load.Outcome, r *reading) { r.answered["a"]++ },
		"endpoint b had 200 requests": func(_ *load.Outcome, r *reading) { r.answered["a"] += 300; r.answered["b"] -= 300 },
		"errors_total grew by 1":      func(_ *load.Outcome, r *reading) { r.counters[`shunt_proxy_errors_total{reason="x"}`] = 1 },
		"retries_total grew by 2":     func(_ *load.Outcome, r *reading) { r.counters[`shunt_proxy_retries_total{reason="x"}`] = 2 },
		"the proxy counted -11":       func(_ *load.Outcome, r *reading) { r.counters = measure.Counters{} },
	} {
		s, l, o, before, after := good()
		spoil(&o, &after)
		if err := check(s, l, o, before, after); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check: %v, want %q", err, want)
		}
	}
}

// TestWrkMayDropWhatIsUnderWay: one request per connection.
func TestWrkMayDropWhatIsUnderWay(t *testing.T) {
	s, l := scenario.Scenario{Protocol: scenario.HTTP1, Endpoints: 1}, scenario.Load{Connections: 32, Duration: time.Second}
	o := load.Outcome{Requests: 1000, Elapsed: time.Second}
	for backend, ok := range map[int]bool{999: false, 1000: true, 1032: true, 1033: false} {
		err := check(s, l, o, reading{}, reading{answered: map[string]int{"a": backend}})
		if (err == nil) != ok {
			t.Errorf("the backend counts %d, wrk 1000: %v", backend, err)
		}
	}
}

func TestTCPIsCountedInBytes(t *testing.T) {
	s, o := scenario.Scenario{Protocol: scenario.TCP, Kind: scenario.Bulk, Endpoints: 1}, load.Outcome{Requests: 1, Elapsed: time.Second, Bytes: 5000}
	counters := func(conns, bytes float64) reading {
		return reading{counters: measure.Counters{
			`shunt_proxy_connections_opened_total{direction="outbound",kind="tcp"}`: conns,
			`shunt_proxy_received_bytes_total{direction="outbound",kind="tcp"}`:     bytes,
		}}
	}
	if err := check(s, scenario.Load{}, o, counters(1, 10), counters(3, 5010)); err != nil {
		t.Error(err)
	}
	if err := check(s, scenario.Load{}, o, counters(1, 10), counters(3, 5009)); err == nil {
		t.Error("a byte is missing, and nobody notices")
	}
	if err := check(s, scenario.Load{}, o, counters(1, 10), counters(1, 5010)); err == nil {
		t.Error("no connection was counted, and nobody notices")
	}
}

// TestLimits: a slow side is no error of ours, a limit is.
func TestLimits(t *testing.T) {
	s, o := scenario.Scenario{Protocol: scenario.TCP, Kind: scenario.Bulk, Endpoints: 1}, load.Outcome{Requests: 1, Elapsed: time.Second}
	for limit, ok := range map[string]bool{"unsent-bytes": true, "http2-window-bytes": true, "streams": false, "connections": false} {
		after := reading{counters: measure.Counters{
			`shunt_proxy_connections_opened_total{direction="outbound",kind="tcp"}`:    1,
			`shunt_proxy_limit_hits_total{direction="outbound",limit="` + limit + `"}`: 3,
		}}
		if err := check(s, scenario.Load{}, o, reading{}, after); (err == nil) != ok {
			t.Errorf("%s: %v", limit, err)
		}
	}
}

func TestValues(t *testing.T) {
	o := load.Outcome{Requests: 1000, Elapsed: 2 * time.Second, P50: time.Millisecond, P99: 3 * time.Millisecond, Bytes: 2 << 30}
	before, after := reading{proxy: time.Second, backend: time.Second}, reading{proxy: 1008 * time.Millisecond, backend: 1014 * time.Millisecond}
	got := values(scenario.Scenario{}, scenario.Shunt, o, before, after)
	want := sample{scenario.CPU: 8, scenario.BackendCPU: 14, scenario.Rate: 500, scenario.P50: 1000, scenario.P99: 3000}
	for m, want := range want {
		if diff := got[m] - want; diff > 1e-6 || diff < -1e-6 {
			t.Errorf("%s = %v, want %v", m, got[m], want)
		}
	}
	if got := values(scenario.Scenario{}, scenario.Direct, o, before, after); got[scenario.CPU] != 0 || len(got) != 4 {
		t.Errorf("no proxy has %v", got)
	}
	got = values(scenario.Scenario{Kind: scenario.Bulk}, scenario.Shunt, o, before, after)
	if got[scenario.CPUPerGiB] != 4 || got[scenario.Throughput] < 8.58 || got[scenario.Throughput] > 8.6 {
		t.Errorf("bulk: %v", got)
	}
}

func TestChurned(t *testing.T) {
	s := scenario.Scenario{Protocol: scenario.GRPC, Load: scenario.Load{Requests: 10}}
	o := load.Outcome{Requests: 10, Elapsed: time.Second}
	d := delta{measure.Counters{}, measure.Counters{"shunt_proxy_discovery_updates_total": 100, stallMetric: 0.0007}}
	got, err := churned(s, o, d, 2*time.Second)
	if err != nil || got[scenario.Updates] != 50 || got[scenario.Stall] < 0.69 || got[scenario.Stall] > 0.71 {
		t.Errorf("churned = %v, %v", got, err)
	}
	delete(d.after, stallMetric)
	if got, err := churned(s, o, d, 2*time.Second); err != nil || len(got) != 3 {
		t.Errorf("without the metric: %v, %v", got, err)
	}
	if _, err := churned(s, o, d, 10*time.Second); err == nil {
		t.Error("10 updates a second are taken for enough")
	}
}
