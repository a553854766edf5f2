// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

const exposition = `# HELP x y
shunt_proxy_state 0
shunt_proxy_requests_total{direction="outbound",service="echo:80",protocol="http2",class="2xx"} 60000
shunt_proxy_requests_total{direction="outbound",service="echo:80",protocol="http2",class="5xx"} 2
shunt_proxy_requests_total{direction="inbound",service=":80",protocol="http2",class="2xx"} 7
process_resident_memory_bytes 1.2e+07
`

func TestCounters(t *testing.T) {
	c, err := measure.ParseCounters(strings.NewReader(exposition))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		metric string
		labels []string
		want   float64
		found  bool
	}{
		{"shunt_proxy_requests_total", nil, 60009, true},
		{"shunt_proxy_requests_total", []string{`direction="outbound"`}, 60002, true},
		{"shunt_proxy_requests_total", []string{`direction="outbound"`, `class="2xx"`}, 60000, true},
		{"shunt_proxy_requests_total", []string{`class="3xx"`}, 0, false},
		{"shunt_proxy_requests_total", []string{`lass="2xx"`}, 0, false},
		{"process_resident_memory_bytes", nil, 1.2e7, true},
		{"shunt_proxy_state", nil, 0, true},
		{"shunt_proxy_requests", nil, 0, false},
	} {
		if got, found := c.Sum(tt.metric, tt.labels...); got != tt.want || found != tt.found {
			t.Errorf("Sum(%s, %v) = %v, %v, want %v, %v", tt.metric, tt.labels, got, found, tt.want, tt.found)
		}
	}
	for _, bad := range []string{"alone", "x one"} {
		if _, err := measure.ParseCounters(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
