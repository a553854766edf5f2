// SPDX-License-Identifier: Apache-2.0

package stats_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/stats"
)

func ours(s *stats.Stats) []string {
	var b bytes.Buffer
	s.WritePrometheus(&b)
	return slices.DeleteFunc(strings.Split(b.String(), "\n"), func(l string) bool {
		return !strings.HasPrefix(l, "shunt_") || strings.Contains(l, "build_info")
	})
}

// TestNames holds the names and labels that dashboards are made of.
func TestNames(t *testing.T) {
	s := stats.New()
	s.SetState(1)
	outbound := s.Requests(stats.Outbound, "greeter:80", stats.HTTP2)
	outbound.Status(200)
	outbound.Status(204)
	inbound := s.Requests(stats.Inbound, ":8080", stats.HTTP2)
	inbound.GRPC("14")
	inbound.GRPC("")
	inbound.GRPC("evil\"label")
	inbound.GRPC("99")
	c := s.Conn(stats.Inbound, stats.TCP)
	c.Open()
	c.Received.Add(3)
	c.Sent.Add(4)
	s.Error(stats.Outbound, reason.NoRoute)
	s.Retry(stats.Outbound, reason.ConnectRefused)
	s.PassedThrough("no-service")
	s.LimitHit(stats.Inbound, stats.LimitHandshakes)
	s.Dial(stats.Outbound, reason.None)
	s.Gauge("discovery_connected", func() float64 { return 1 })
	want := []string{
		`shunt_proxy_connections_active{direction="inbound",kind="tcp"} 1`,
		`shunt_proxy_connections_opened_total{direction="inbound",kind="tcp"} 1`,
		`shunt_proxy_discovery_connected 1`,
		`shunt_proxy_errors_total{direction="outbound",reason="no-route"} 1`,
		`shunt_proxy_grpc_responses_total{direction="inbound",service=":8080",grpc_status="14"} 1`,
		`shunt_proxy_grpc_responses_total{direction="inbound",service=":8080",grpc_status="none"} 1`,
		`shunt_proxy_grpc_responses_total{direction="inbound",service=":8080",grpc_status="other"} 2`,
		`shunt_proxy_limit_hits_total{direction="inbound",limit="handshakes"} 1`,
		`shunt_proxy_passthrough_total{direction="outbound",reason="no-service"} 1`,
		`shunt_proxy_received_bytes_total{direction="inbound",kind="tcp"} 3`,
		`shunt_proxy_requests_total{direction="outbound",service="greeter:80",protocol="http2",class="2xx"} 2`,
		`shunt_proxy_retries_total{direction="outbound",reason="connect-refused"} 1`,
		`shunt_proxy_sent_bytes_total{direction="inbound",kind="tcp"} 4`,
		`shunt_proxy_state 1`,
		`shunt_proxy_upstream_dials_total{direction="outbound",result="ok"} 1`,
	}
	if diff := cmp.Diff(want, ours(s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestServicesAreBounded: a scan of ports makes no series without end.
func TestServicesAreBounded(t *testing.T) {
	s := stats.New()
	for port := range 2000 {
		s.Requests(stats.Inbound, fmt.Sprintf(":%d", port), stats.HTTP1).Status(503)
	}
	if n := len(ours(s)); n > 510 {
		t.Errorf("%d series", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	r := stats.New().Requests(stats.Outbound, "greeter:80", stats.HTTP2)
	b.ReportAllocs()
	for b.Loop() {
		r.Status(200)
	}
}
