// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// limit ends a load generator that hangs.
const limit = 2 * time.Minute

// H2Load sends unary gRPC calls with nghttp2's h2load. dir is for its files.
func H2Load(ctx context.Context, tool Tool, aim Aim, l scenario.Load, dir string) (Outcome, error) {
	body, log := filepath.Join(dir, "h2load.body"), filepath.Join(dir, "h2load.log")
	if err := os.WriteFile(body, Message(l.Payload), 0o600); err != nil {
		return Outcome{}, fmt.Errorf("write body of requests: %w", err)
	}
	if err := os.RemoveAll(log); err != nil { // it appends
		return Outcome{}, err
	}
	out, err := process.Output(ctx, limit, process.Spec{
		Name: "h2load", Path: tool.Path, Env: tool.Env, Args: h2loadArgs(aim, l, body, log),
	})
	if err != nil {
		return Outcome{}, err
	}
	o, err := ParseH2Load(out)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w in: %s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		return Outcome{}, fmt.Errorf("open log of h2load: %w", err)
	}
	defer func() { _ = f.Close() }()
	all, err := parseH2LoadLog(f)
	if err != nil {
		return Outcome{}, err
	}
	o.setLatency(all)
	return o, nil
}

// h2loadArgs: -w and -W open the windows so far that the client is never what
// blocks.
func h2loadArgs(aim Aim, l scenario.Load, body, log string) []string {
	args := []string{
		"-t1", "-w30", "-W30",
		"-c" + strconv.Itoa(l.Connections), "-m" + strconv.Itoa(l.Streams), "-n" + strconv.Itoa(l.Requests),
		"-d", body, "--log-file=" + log,
		"-H", ":authority: " + Authority, "-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: " + Timeout,
	}
	if l.Rate > 0 {
		args = append(args, "--rps="+strconv.Itoa(l.Rate/l.Connections))
	}
	if !aim.TLS {
		args = append(args, "-ph2c")
	}
	return append(args, aim.URL())
}

var (
	h2loadFinished = regexp.MustCompile(`(?m)^finished in ([0-9.]+(?:us|ms|s)),`)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus   = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, `)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: .*, [^(]*\((\d+)\) data`)
)

// ParseH2Load reads what h2load 1.52 prints at its end.
func ParseH2Load(text string) (Outcome, error) {
	finished := h2loadFinished.FindStringSubmatch(text)
	requests := h2loadRequests.FindStringSubmatch(text)
	status := h2loadStatus.FindStringSubmatch(text)
	traffic := h2loadTraffic.FindStringSubmatch(text)
	if finished == nil || requests == nil || status == nil || traffic == nil {
		return Outcome{}, fmt.Errorf("parse output of h2load: a line is missing (is it another version than 1.52?)")
	}
	var o Outcome
	var err error
	if o.Elapsed, err = time.ParseDuration(finished[1]); err != nil {
		return Outcome{}, fmt.Errorf("parse output of h2load: %w", err)
	}
	n, err := atois(requests[1], requests[2], status[1], traffic[1])
	if err != nil {
		return Outcome{}, fmt.Errorf("parse output of h2load: %w", err)
	}
	total, succeeded, ok := n[0], n[1], n[2]
	o.Requests = min(succeeded, ok)
	o.Failed = total - o.Requests
	o.Bytes = int64(n[3])
	return o, nil
}

func atois(texts ...string) ([]int, error) {
	out := make([]int, len(texts))
	for i, t := range texts {
		var err error
		if out[i], err = strconv.Atoi(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseH2LoadLog reads the time that each request took: the last of three
// columns, in microseconds.
func parseH2LoadLog(r io.Reader) ([]time.Duration, error) {
	var out []time.Duration
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			return nil, fmt.Errorf("parse log of h2load: line %q", lines.Text())
		}
		us, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse log of h2load: %w", err)
		}
		out = append(out, time.Duration(us)*time.Microsecond)
	}
	return out, lines.Err()
}
