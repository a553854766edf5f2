// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Wrk sends HTTP/1.1 requests on connections that are kept.
func Wrk(ctx context.Context, tool Tool, aim Aim, l scenario.Load) (Outcome, error) {
	out, err := process.Output(ctx, limit, process.Spec{Name: "wrk", Path: tool.Path, Env: tool.Env, Args: []string{
		"-t1", "-c" + strconv.Itoa(l.Connections), fmt.Sprintf("-d%ds", int(l.Duration.Seconds())), "--latency",
		"-H", "Host: " + Authority, aim.URL(),
	}})
	if err != nil {
		return Outcome{}, err
	}
	o, err := ParseWrk(out)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w in: %s", err, out)
	}
	return o, nil
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([0-9.]+(?:us|ms|s|m)), `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)`)
	wrkP50      = regexp.MustCompile(`(?m)^\s*50%\s+([0-9.]+(?:us|ms|s))`)
	wrkP99      = regexp.MustCompile(`(?m)^\s*99%\s+([0-9.]+(?:us|ms|s))`)
	wrkSocket   = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus   = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// ParseWrk reads what wrk 4.1 prints with --latency. It says how long it ran to
// two decimals only, so the time comes from the rate.
func ParseWrk(text string) (Outcome, error) {
	requests, rate := wrkRequests.FindStringSubmatch(text), wrkRate.FindStringSubmatch(text)
	p50, p99 := wrkP50.FindStringSubmatch(text), wrkP99.FindStringSubmatch(text)
	if requests == nil || rate == nil || p50 == nil || p99 == nil {
		return Outcome{}, fmt.Errorf("parse output of wrk: a line is missing (is it another version than 4.1?)")
	}
	n, err := strconv.Atoi(requests[1])
	if err != nil {
		return Outcome{}, fmt.Errorf("parse output of wrk: %w", err)
	}
	perSecond, err := strconv.ParseFloat(rate[1], 64)
	if err != nil || perSecond <= 0 {
		return Outcome{}, fmt.Errorf("parse output of wrk: rate %q", rate[1])
	}
	o := Outcome{Requests: n, Elapsed: time.Duration(float64(n) / perSecond * float64(time.Second))}
	if o.P50, err = time.ParseDuration(p50[1]); err != nil {
		return Outcome{}, fmt.Errorf("parse output of wrk: %w", err)
	}
	if o.P99, err = time.ParseDuration(p99[1]); err != nil {
		return Outcome{}, fmt.Errorf("parse output of wrk: %w", err)
	}
	sockets, err := sum(wrkSocket.FindStringSubmatch(text))
	if err != nil {
		return Outcome{}, err
	}
	statuses, err := sum(wrkStatus.FindStringSubmatch(text))
	if err != nil {
		return Outcome{}, err
	}
	o.Requests -= statuses // wrk counts them among the requests
	o.Failed = sockets + statuses
	return o, nil
}

// sum adds up what a match caught. Lines about failures are there only when
// there were any.
func sum(match []string) (int, error) {
	if match == nil {
		return 0, nil
	}
	n, err := atois(match[1:]...)
	if err != nil {
		return 0, fmt.Errorf("parse output of wrk: %w", err)
	}
	total := 0
	for _, v := range n {
		total += v
	}
	return total, nil
}
