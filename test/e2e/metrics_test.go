// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func lines(text string) []string {
	return strings.Split(strings.TrimSpace(text), "\n")
}

// proxied sums the requests or connections that a pod's proxy counted, for one
// direction and, unless it is empty, one protocol: http1, http2 or tcp.
func proxied(t *testing.T, namespace, pod, direction, protocol string) float64 {
	t.Helper()
	return sum(t, namespace, pod, "shunt_proxy_requests_total", direction, protocol) +
		sum(t, namespace, pod, "shunt_proxy_connections_opened_total", direction, protocol)
}

func sum(t *testing.T, namespace, pod, metric, direction, protocol string) float64 {
	t.Helper()
	text := kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:15090/proxy/metrics", namespace, pod))
	total := 0.0
	for _, line := range lines(text) {
		name, value, ok := cutSample(line)
		if !ok || !strings.HasPrefix(name, metric+"{") || !strings.Contains(name, `direction="`+direction+`"`) {
			continue
		}
		if protocol != "" && !strings.Contains(name, `="`+protocol+`"`) {
			continue
		}
		total += value
	}
	return total
}

// cutSample reads one line of the Prometheus text format.
func cutSample(line string) (name string, value float64, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", 0, false
	}
	value, err := strconv.ParseFloat(line[i+1:], 64)
	return line[:i], value, err == nil
}
