// SPDX-License-Identifier: Apache-2.0

package appmetrics_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/proxy/appmetrics"
)

const (
	own           = "shunt_proxy_state 0\n"
	plainType     = "text/plain; version=0.0.4; charset=utf-8"
	openType      = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	acceptsOpen   = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	maxBytes      = 1 << 20
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
)

// rig is a Handler in front of an application.
type rig struct {
	*appmetrics.Handler
	mu    sync.Mutex
	asked []appmetrics.Result
}

// patience is a limit that nothing comes near, on however busy a machine.
const patience = time.Minute

func newRig(app contract.Scrape, limit time.Duration) *rig {
	r := &rig{}
	r.Handler = appmetrics.New(appmetrics.Options{
		App: app, Timeout: limit, MaxBytes: maxBytes,
		Own: func(w io.Writer) { io.WriteString(w, own) },
		Asked: func(result appmetrics.Result) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.asked = append(r.asked, result)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	return r
}

func (r *rig) results() []appmetrics.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *rig) scrape(ctx context.Context, header map[string]string) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, contract.PathMergedMetrics, nil)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, request)
	return recorder
}

// serve starts an application and returns where its metrics are.
func serve(t *testing.T, network, address string, h http.Handler) contract.Scrape {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return contract.Scrape{Port: uint16(listener.Addr().(*net.TCPAddr).Port), Path: "/metrics"}
}

func says(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{contentType}
		io.WriteString(w, body)
	}
}

// Whatever the application answers, the proxy's own metrics are there, and the
// answer is one that a scraper can read.
func TestMerge(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for _, tt := range []struct {
		name     string
		accept   string
		app      http.HandlerFunc
		result   appmetrics.Result
		wantType string
		want     string
	}{
		{"text", acceptsOpen, says("text/plain; version=0.0.4", "# TYPE a counter\na 1\n"), appmetrics.OK, plainType, own + "# TYPE a counter\na 1\n"},
		{"no type", "", says("", "a 1"), appmetrics.OK, plainType, own + "a 1\n"},
		{"nothing", "", says("text/plain", ""), appmetrics.OK, plainType, own},
		{"open", acceptsOpen, says("application/openmetrics-text; version=1.0.0", "a_total 1 # {t=\"x\"} 1\n# EOF\n"), appmetrics.OK, openType, own + "a_total 1 # {t=\"x\"} 1\n# EOF\n"},
		{"open that was not asked for", "*/*", says("application/openmetrics-text", "a 1\n# EOF\n"), appmetrics.Format, plainType, own},
		{"open and cut off", acceptsOpen, says("application/openmetrics-text", "a 1\n"), appmetrics.Invalid, plainType, own},
		{"protobuf", "", says("application/vnd.google.protobuf", "\x01"), appmetrics.Format, plainType, own},
		{"page", "", says("text/html", "<html>"), appmetrics.Format, plainType, own},
		{"page as text", "", says("text/plain", "<html>\n"), appmetrics.Invalid, plainType, own},
		{"own name", "", says("text/plain", "a 1\nshunt_proxy_state 3\n"), appmetrics.OwnName, plainType, own},
		{"error", "", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a 1", http.StatusInternalServerError) }, appmetrics.Status, plainType, own},
		{"redirect", "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, appmetrics.Status, plainType, own},
		{"unknown coding", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "a 1\n")
		}, appmetrics.Format, plainType, own},
		{"gzip", "", zipped("a 1\n"), appmetrics.OK, plainType, own + "a 1\n"},
		{"gzip that is none", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "a 1\n")
		}, appmetrics.Format, plainType, own},
		{"just fits", "", says("text/plain", "a 1\n"+strings.Repeat("\n", maxBytes-4)), appmetrics.OK, plainType, own + "a 1\n"},
		{"too large", "", says("text/plain", strings.Repeat("a 1\n", maxBytes/4+1)), appmetrics.TooLarge, plainType, own},
		{"too large within a line", "", says("text/plain", strings.Repeat("a 10\n", maxBytes/5+1)), appmetrics.TooLarge, plainType, own},
		{"too large when decompressed", "", zipped(strings.Repeat("\n", 64*maxBytes)), appmetrics.TooLarge, plainType, own},
		{"broken", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "a 1\n")
		}, appmetrics.Unreachable, plainType, own},
		{"broken within a line", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "a 1\nb")
		}, appmetrics.Unreachable, plainType, own},
		{"large head", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 32<<10))
		}, appmetrics.Unreachable, plainType, own},
		{"slow", "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, appmetrics.Timeout, plainType, own},
		{"slow in the middle", "", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a 1\nb")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, appmetrics.Timeout, plainType, own},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := patience
			if tt.result == appmetrics.Timeout {
				limit = 300 * time.Millisecond
			}
			r := newRig(serve(t, "tcp4", "127.0.0.1:0", tt.app), limit)
			got := r.scrape(t.Context(), map[string]string{"Accept": tt.accept})
			if diff := cmp.Diff(tt.want, got.Body.String()); diff != "" || got.Code != http.StatusOK || got.Header().Get("Content-Type") != tt.wantType {
				t.Errorf("%d %q (-want +got):\n%s", got.Code, got.Header().Get("Content-Type"), diff)
			}
			if results := r.results(); !slices.Equal(results, []appmetrics.Result{tt.result}) {
				t.Errorf("results %v, want %s", results, tt.result)
			}
			if up := r.Up(); (up == 1) != (tt.result == appmetrics.OK) {
				t.Errorf("up is %v after %s", up, tt.result)
			}
		})
	}
}

func zipped(text string) http.HandlerFunc {
	var body bytes.Buffer // before the scrape: it takes longer than one may
	z := gzip.NewWriter(&body)
	io.WriteString(z, text)
	z.Close()
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/plain")
		w.Write(body.Bytes())
	}
}

// An application that is down, has no metrics, or listens on IPv6 alone.
func TestReach(t *testing.T) {
	six := newRig(serve(t, "tcp6", "[::1]:0", says("text/plain", "a 1\n")), patience)
	if got := six.scrape(t.Context(), nil).Body.String(); got != own+"a 1\n" {
		t.Errorf("IPv6: %q, %v", got, six.results())
	}
	none := newRig(contract.Scrape{}, patience)
	if got := none.scrape(t.Context(), nil).Body.String(); got != own || len(none.results()) > 0 || none.Up() != 1 {
		t.Errorf("no application: %q, %v", got, none.results())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	listener.Close()
	down := newRig(contract.Scrape{Port: port, Path: "/metrics"}, patience)
	if got := down.scrape(t.Context(), nil).Body.String(); got != own || down.results()[0] != appmetrics.Unreachable {
		t.Errorf("down: %q, %v", got, down.results())
	}
}

// What Go's client library writes is taken in both formats, exemplars included.
func TestClientLibrary(t *testing.T) {
	registry := prometheus.NewRegistry()
	requests := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "requests_seconds", Help: "Time of\nrequests.", Buckets: []float64{1}}, []string{"path"})
	registry.MustRegister(requests, collectors.NewGoCollector())
	requests.WithLabelValues(`/a"b\c`+"\n").(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"trace_id": "x"})
	r := newRig(serve(t, "tcp", "127.0.0.1:0", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})), patience)
	for accept, wants := range map[string][]string{
		acceptsOpen:  {`requests_seconds_bucket{path="/a\"b\\c\n",le="1.0"} 1 # {trace_id="x"} 0.5`, "# TYPE go_goroutines gauge\n", "\n# EOF\n"},
		"text/plain": {`requests_seconds_bucket{path="/a\"b\\c\n",le="1"} 1` + "\n", "# TYPE go_goroutines gauge\n"},
	} {
		text := r.scrape(t.Context(), map[string]string{"Accept": accept}).Body.String()
		for _, want := range append(wants, own) {
			if !strings.Contains(text, want) {
				t.Errorf("Accept %s: no %q in\n%s, %v", accept, want, text, r.results())
			}
		}
	}
}

// The application is asked by one scrape at a time, in plain bytes, and few wait.
func TestOneAtATime(t *testing.T) {
	var mu sync.Mutex
	inside, most := 0, 0
	release := make(chan struct{})
	r := newRig(serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		inside++
		most = max(most, inside)
		mu.Unlock()
		<-release
		mu.Lock()
		inside--
		mu.Unlock()
		if coding := req.Header.Get("Accept-Encoding"); coding != "identity" {
			t.Errorf("Accept-Encoding %q", coding)
		}
		io.WriteString(w, "a 1\n")
	})), patience)
	const scrapes = 12
	codes := make(chan int, scrapes)
	var wg sync.WaitGroup
	for range scrapes {
		wg.Go(func() { codes <- r.scrape(t.Context(), nil).Code })
	}
	refused := 0
	for range scrapes - 8 { // eight have a place
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", code)
		}
		refused++
	}
	close(release)
	wg.Wait()
	close(codes)
	for code := range codes {
		if code != http.StatusOK {
			t.Errorf("status %d of one that waited", code)
		}
	}
	if most != 1 || refused != 4 {
		t.Errorf("%d asked at once, %d were refused; want 1, 4", most, refused)
	}
}

// A scraper that goes away says nothing about the application.
func TestScraperGoesAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	})), patience)
	r.scrape(ctx, nil)
	if results := r.results(); len(results) > 0 || r.Up() != 1 {
		t.Errorf("results %v, up %v", results, r.Up())
	}
}

// A scraper's own limit is kept, with time left for the answer.
func TestScraperTimeout(t *testing.T) {
	app := serve(t, "tcp", "127.0.0.1:0", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	r := newRig(app, time.Second)
	for text, most := range map[string]time.Duration{
		"0.1": 500 * time.Millisecond,
		"1e9": 2 * time.Second, // ours is 1 s
		"NaN": 2 * time.Second,
		"-1":  2 * time.Second,
	} {
		begin := time.Now()
		r.scrape(t.Context(), map[string]string{timeoutHeader: text})
		if took := time.Since(begin); took > most {
			t.Errorf("timeout %s: took %v, want %v at most", text, took, most)
		}
	}
}
