// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// metricsScenarios hit the limits of the application's metrics.
var metricsScenarios = map[string]scenario{
	"app-metrics-bytes": {
		change: func(t *testing.T, o *proxy.Options) {
			merges(t, o, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("a 1\n", 1<<10)) })
			o.MaxAppMetrics = 1 << 10
		},
		provoke: func(t *testing.T, r *sidecartest.Proxy) { scrapeMerged(t, r) },
	},
	"app-metrics-timeout": {
		change: func(t *testing.T, o *proxy.Options) {
			merges(t, o, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			o.AppMetricsTime = 20 * time.Millisecond
		},
		provoke: func(t *testing.T, r *sidecartest.Proxy) { scrapeMerged(t, r) },
	},
}

// merges has a proxy ask an application that h answers for.
func merges(t *testing.T, o *proxy.Options, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	o.MergedListen = sidecartest.FreeAddrs(t, 1)[0].String()
	o.AppMetrics = contract.Scrape{Port: sidecartest.AddrOf(l).Port(), Path: "/metrics"}
}

func scrapeMerged(t *testing.T, r *sidecartest.Proxy) string {
	t.Helper()
	response, err := http.Get("http://" + r.Options.MergedListen + contract.PathMergedMetrics)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", response.Status, err)
	}
	return string(text)
}

// The application's metrics come with the proxy's own, but for those of its
// process: an application has metrics of the same names.
func TestMergedMetrics(t *testing.T) {
	r := sidecartest.Start(t, func(o *proxy.Options) {
		merges(t, o, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "process_open_fds 7\npath{is=\""+r.URL.Path+"\"} 1\n")
		})
	})
	text := scrapeMerged(t, r)
	for _, want := range []string{
		"shunt_proxy_state 0\n", "shunt_proxy_app_metrics_up 1\n", `shunt_proxy_app_metrics_total{result="ok"} 1` + "\n",
		"process_open_fds 7\n", `path{is="/metrics"} 1` + "\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(text, want), text)
		}
	}
	if strings.Contains(text, "\ngo_") || strings.Count(text, "process_") != 1 {
		t.Errorf("metrics of the proxy's process in\n%s", text)
	}
}

// Nobody asked for it: there is no such listener, and no metric of it.
func TestNoMergedMetrics(t *testing.T) {
	r := sidecartest.Start(t, nil)
	if n := count(r, "shunt_proxy_app_metrics"); n != 0 || r.Options.MergedListen != "" {
		t.Errorf("%d metrics, listens on %q", n, r.Options.MergedListen)
	}
}
