// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Counters are the metrics of a process as it exposes them, by their whole
// name: `shunt_proxy_requests_total{direction="outbound",...}`.
type Counters map[string]float64

// ReadCounters asks a /metrics endpoint.
func ReadCounters(ctx context.Context, url string) (Counters, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read metrics: %s", resp.Status)
	}
	return ParseCounters(resp.Body)
}

// ParseCounters reads the Prometheus text format, without its timestamps.
func ParseCounters(r io.Reader) (Counters, error) {
	out := Counters{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("parse metric %q: no value", line)
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("parse metric %q: %w", line, err)
		}
		out[strings.TrimSpace(line[:i])] = v
	}
	return out, lines.Err()
}

// Sum adds up all series of a metric that have the labels, each as `key="value"`.
// found is false when there is none.
func (c Counters) Sum(metric string, labels ...string) (sum float64, found bool) {
	for name, v := range c {
		if base, rest, _ := strings.Cut(name, "{"); base == metric && hasAll(rest, labels) {
			sum += v
			found = true
		}
	}
	return sum, found
}

func hasAll(text string, labels []string) bool {
	for _, l := range labels {
		if !regexp.MustCompile(`(^|,)` + regexp.QuoteMeta(l) + `(,|}|$)`).MatchString(text) {
			return false
		}
	}
	return true
}
