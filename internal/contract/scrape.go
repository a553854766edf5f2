// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// PathMergedMetrics is where the proxy serves its own and the application's
// metrics in one answer, on PortAppMetrics. It is Istio's path.
const PathMergedMetrics = "/stats/prometheus"

// maxScrapePath bounds the path that a pod's author writes, in bytes.
const maxScrapePath = 1024

// Scrape says where an application serves its metrics in its pod. The zero value
// is an application that has none.
type Scrape struct {
	Port uint16
	Path string // begins with a slash; may have a query
}

// String returns "8080/metrics", the form that ParseScrape reads.
func (s Scrape) String() string {
	if s.Port == 0 {
		return ""
	}
	return fmt.Sprintf("%d%s", s.Port, s.Path)
}

// ParseScrape reads a port and a path, such as "8080/metrics"; "" is the zero
// value. A port of the proxy is refused: it would be asked for its own metrics,
// or for itself without end.
func ParseScrape(text string) (Scrape, error) {
	if text == "" {
		return Scrape{}, nil
	}
	number, path, found := strings.Cut(text, "/")
	port, err := parsePort(number)
	if err != nil {
		return Scrape{}, fmt.Errorf("metrics of the application %q: the port is not possible (allowed: a number from 1 to 65535)", text)
	}
	if slices.Contains(ProxyPorts(), int32(port)) {
		return Scrape{}, fmt.Errorf("metrics of the application %q: port %d is the proxy's (allowed: ports other than %v)", text, port, ProxyPorts())
	}
	path = "/" + path
	if _, err := url.ParseRequestURI(path); err != nil || !found || len(path) > maxScrapePath || strings.ContainsAny(path, " #") {
		return Scrape{}, fmt.Errorf("metrics of the application %q: the path is not possible (allowed: a slash and at most %d bytes of a URL's path and query, such as /metrics)", text, maxScrapePath)
	}
	return Scrape{Port: port, Path: path}, nil
}
