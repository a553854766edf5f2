// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// memory is what a proxy takes, in MiB.
type memory struct {
	rss     float64 // resident, file pages that all sidecars of a node share included
	private float64 // resident and not shared
}

// proxyMemory reads the metrics of the pod's proxy.
func (c cluster) proxyMemory(ctx context.Context, pod string) (memory, error) {
	body, err := c.pod.metrics(ctx, c.ns, pod)
	if err != nil {
		return memory{}, fmt.Errorf("read metrics of the proxy of pod %s: %w", pod, err)
	}
	return parseMemory(body)
}

// parseMemory finds the two figures in the Prometheus text format.
func parseMemory(body []byte) (memory, error) {
	values := map[string]float64{}
	scanner := bufio.NewScanner(bytes.NewReader(body))
	for scanner.Scan() {
		name, value, found := strings.Cut(scanner.Text(), " ")
		if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); found && err == nil {
			values[name] = v / (1 << 20)
		}
	}
	if err := scanner.Err(); err != nil {
		return memory{}, fmt.Errorf("read metrics: %w", err)
	}
	m := memory{rss: values["process_resident_memory_bytes"], private: values["shunt_proxy_memory_private_bytes"]}
	if m.private == 0 {
		// Anonymous pages are the private ones of a process that maps nothing
		// writable from files.
		m.private = values["process_resident_memory_anon_bytes"]
	}
	if m.rss == 0 || m.private == 0 {
		return memory{}, fmt.Errorf("the proxy's metrics lack its memory (resident %g MiB, private %g MiB)", m.rss, m.private)
	}
	return m, nil
}
