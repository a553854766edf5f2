// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// check refuses a trial in which a request failed, in which somebody counted
// other requests than were sent, or in which a feature of ours did not run.
func check(s scenario.Scenario, l scenario.Load, o load.Outcome, before, after reading) error {
	errs := []error{checkOutcome(s, l, o), checkBackend(s, l, o, before.answered, after.answered)}
	if after.counters != nil {
		errs = append(errs, checkFeatures(s, l, o, delta{before.counters, after.counters}))
		if s.Endpoints > 1 {
			errs = append(errs, checkBalance(before.answered, after.answered))
		}
	}
	return errors.Join(errs...)
}

// fixed tells whether the number of requests was given; wrk runs for a time
// instead, and drops what is under way at its end.
func fixed(s scenario.Scenario) bool { return s.Protocol == scenario.GRPC }

func checkOutcome(s scenario.Scenario, l scenario.Load, o load.Outcome) error {
	switch {
	case o.Failed > 0:
		return fmt.Errorf("%d requests failed", o.Failed)
	case o.Requests == 0 || o.Elapsed <= 0:
		return errors.New("nothing was answered")
	case fixed(s) && o.Requests != l.Requests:
		return fmt.Errorf("%d of %d requests were answered", o.Requests, l.Requests)
	case fixed(s) && o.Bytes < int64(o.Requests)*int64(l.Payload):
		return fmt.Errorf("%d answers have %d bytes, less than %d each", o.Requests, o.Bytes, l.Payload)
	}
	return nil
}

func checkBackend(s scenario.Scenario, l scenario.Load, o load.Outcome, before, after map[string]int) error {
	if s.Protocol == scenario.TCP {
		return nil // it counts connections
	}
	got := 0
	for address, n := range after {
		got += n - before[address]
	}
	return counted("the backend", float64(got), s, l, o)
}

// counted compares somebody's count of requests with what the client got.
func counted(who string, got float64, s scenario.Scenario, l scenario.Load, o load.Outcome) error {
	most := float64(o.Requests)
	if !fixed(s) {
		most += float64(l.Connections)
	}
	if got < float64(o.Requests) || got > most {
		return fmt.Errorf("%s counted %v requests, the client %d", who, got, o.Requests)
	}
	return nil
}

// checkBalance wants the endpoints to have had even shares.
func checkBalance(before, after map[string]int) error {
	sum := 0
	for address, n := range after {
		sum += n - before[address]
	}
	fair := float64(sum) / float64(len(after))
	for address, n := range after {
		if got := float64(n - before[address]); got < fair/2 || got > fair*2 {
			return fmt.Errorf("endpoint %s had %v requests, its share is %v", address, got, fair)
		}
	}
	return nil
}

// delta is what counters grew by.
type delta struct{ before, after measure.Counters }

func (d delta) of(metric string, labels ...string) float64 {
	before, _ := d.before.Sum(metric, labels...)
	after, _ := d.after.Sum(metric, labels...)
	return after - before
}

const outbound = `direction="outbound"`

// checkFeatures asks the proxy's own counters: requests were routed, counted for
// their service by class and gRPC status, none was answered or repeated by the
// proxy itself, and connections were taken for what they are.
func checkFeatures(s scenario.Scenario, l scenario.Load, o load.Outcome, d delta) error {
	errs := []error{
		zero(d, "shunt_proxy_errors_total"),
		zero(d, "shunt_proxy_retries_total"),
		zero(d, "shunt_proxy_passthrough_total"),
		noLimit(d),
	}
	if s.Protocol == scenario.TCP {
		opened := d.of("shunt_proxy_connections_opened_total", outbound, `kind="tcp"`)
		if opened < 1 {
			errs = append(errs, errors.New("the proxy counted no TCP connection"))
		}
		bytes := d.of("shunt_proxy_received_bytes_total", outbound, `kind="tcp"`)
		if bytes < float64(o.Bytes) {
			errs = append(errs, fmt.Errorf("the proxy counted %v bytes from the client, which sent %d", bytes, o.Bytes))
		}
		return errors.Join(errs...)
	}
	who := []string{outbound, `service="echo.bench.svc.cluster.local:80"`}
	if s.TLS == scenario.Front {
		who = []string{`direction="inbound"`}
	}
	requests := d.of("shunt_proxy_requests_total", append(who, `class="2xx"`)...)
	errs = append(errs, counted("the proxy", requests, s, l, o))
	if s.Protocol == scenario.GRPC {
		ok := d.of("shunt_proxy_grpc_responses_total", append(who, `grpc_status="0"`)...)
		errs = append(errs, counted("the proxy, of gRPC status 0,", ok, s, l, o))
	}
	return errors.Join(errs...)
}

// noLimit wants no limit to have been hit but those that a large body meets in
// order: it waits for the slower side, and is not kept for another attempt.
func noLimit(d delta) error {
	const metric = "shunt_proxy_limit_hits_total"
	hits := d.of(metric)
	for _, l := range []string{"http2-window-bytes", "http1-window-bytes", "unsent-bytes", "replay-bytes"} {
		hits -= d.of(metric, fmt.Sprintf("limit=%q", l))
	}
	if hits != 0 {
		return fmt.Errorf("%s grew by %v, of limits that are no back-pressure", metric, hits)
	}
	return nil
}

func zero(d delta, metric string) error {
	if n := d.of(metric); n != 0 {
		return fmt.Errorf("%s grew by %v", metric, n)
	}
	return nil
}
