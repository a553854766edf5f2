// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/cni/agent/kube"
)

// agent is a server at work on a socket of its own.
type agent struct {
	*testing.T
	path string
	log  *lines
	mu   sync.Mutex
	asks int
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, path string) (a *agent, stop func()) {
	t.Helper()
	a = &agent{T: t, path: path, log: &lines{}}
	s, err := Listen(Options{
		Path: path, Status: a.status, Metrics: NewMetrics(),
		Asked: func() { a.mu.Lock(); defer a.mu.Unlock(); a.asks++ },
		Log:   slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return a, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func (a *agent) status(_ context.Context, uid, namespace, name string) (string, error) {
	switch name {
	case "gone":
		return "", fmt.Errorf("read pod: %w", kube.ErrNoPod)
	case "plain":
		return "", nil
	case "web":
		return uid + " " + namespace, nil
	default:
		return "", errors.New("connection refused")
	}
}

func (a *agent) request(method, path string, body io.Reader) (status int, text string) {
	a.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", a.path)
		},
	}}
	r, err := http.NewRequestWithContext(a.Context(), method, "http://agent"+path, body)
	if err != nil {
		a.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(all))
}

func TestPod(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, stop := start(t, filepath.Join(t.TempDir(), "agent.sock"))
	defer stop()
	for query, want := range map[string]string{
		"uid=7&namespace=shop&name=web":                         `200 {"annotations":{"shunt.dev/status":"7 shop"}}`,
		"uid=7&namespace=shop&name=plain":                       `200 {"annotations":{}}`,
		"uid=7&namespace=shop&name=gone":                        "404 read pod: there is no such pod",
		"uid=7&namespace=shop&name=x":                           "503 connection refused",
		"uid=7&namespace=shop":                                  "400 namespace and name are needed",
		"uid=7&namespace=shop&name=" + strings.Repeat("x", 254): "400 namespace",
	} {
		status, text := a.request("GET", "/v1/pod?"+query, nil)
		if got := fmt.Sprint(status, " ", text); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if a.asks != 4 {
		t.Errorf("%d questions are taken for a sign of a runtime that tells nothing, want 4", a.asks)
	}
	if status, _ := a.request("POST", "/v1/pod", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("POST of a pod: %d", status)
	}
}

// TestHTTP10 is how the plugin speaks: one request, and the answer ends with the
// connection.
func TestHTTP10(t *testing.T) {
	a, stop := start(t, filepath.Join(t.TempDir(), "agent.sock"))
	defer stop()
	c, err := net.Dial("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /v1/pod?uid=7&namespace=shop&name=web HTTP/1.0\r\nHost: agent\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") || body != `{"annotations":{"shunt.dev/status":"7 shop"}}`+"\n" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestLog(t *testing.T) {
	a, stop := start(t, filepath.Join(t.TempDir(), "agent.sock"))
	defer stop()
	line := `{"time":"2030-01-01T00:00:00Z","level":"ERROR","msg":"apply rules","pod":"shop/web","err":"no such device"}` + "\n"
	if status, text := a.request("POST", "/v1/log", strings.NewReader(line+"\n"+"panic: oh\n")); status != http.StatusNoContent {
		t.Errorf("%d %s", status, text)
	}
	got := a.log.String()
	for _, want := range []string{
		`"level":"ERROR","msg":"apply rules","plugin":{"err":"no such device","pod":"shop/web","time":"2030-01-01T00:00:00Z"}}`,
		`"level":"WARN","msg":"the plugin wrote what is no line of a log","plugin":{"text":"panic: oh"}}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("log %s, want %s", got, want)
		}
	}
	for what, body := range map[string]string{
		"a long line":    `{"msg":"` + strings.Repeat("x", maxLine) + `"}`,
		"many lines":     strings.Repeat("{}\n", maxLines+1),
		"a long request": strings.Repeat(strings.Repeat("x", 4000)+"\n", 20),
	} {
		if status, text := a.request("POST", "/v1/log", strings.NewReader(body)); status != http.StatusRequestEntityTooLarge || text == "" {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
}

// TestSocketIsReplaced of an agent that was killed, and of one that is about to
// go; only root may open it, and it goes with its agent alone.
func TestSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	for _, left := range []string{path, path + ".new"} {
		if err := os.WriteFile(left, []byte("left"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	first, stopFirst := start(t, path)
	if status, _ := first.request("GET", "/v1/pod?namespace=a&name=plain", nil); status != http.StatusOK {
		t.Errorf("over a file that was left: %d", status)
	}
	second, stopSecond := start(t, path)
	stopFirst()
	if status, _ := second.request("GET", "/v1/pod?namespace=a&name=plain", nil); status != http.StatusOK || second.asks != 1 || first.asks != 1 {
		t.Errorf("after the other has gone: %d, asked %d and %d times", status, first.asks, second.asks)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket %v, %v", info.Mode(), err)
	}
	stopSecond()
	if names, _ := filepath.Glob(path + "*"); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	a, stop := start(t, filepath.Join(t.TempDir(), "agent.sock"))
	defer stop()
	var idle []net.Conn
	for range maxConnections {
		c, err := net.Dial("unix", a.path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := a.request("GET", "/v1/pod?namespace=a&name=plain", nil)
		answered <- status
	}()
	select {
	case status := <-answered:
		t.Errorf("answered %d although all connections are taken", status)
	case <-time.After(300 * time.Millisecond):
	}
	for _, c := range idle {
		c.Close()
	}
	if status := <-answered; status != http.StatusOK {
		t.Errorf("then answered %d", status)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`{"level":"INFO","msg":"m","a":{"b":[1,null]}}`)
	f.Add("text")
	f.Add(`{"level":7,"msg":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l := parseLine(text)
		if len(l.attributes) > maxAttributes {
			t.Errorf("%d attributes", len(l.attributes))
		}
		var out bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		log.LogAttrs(t.Context(), l.level, l.message, slog.Attr{Key: "plugin", Value: slog.GroupValue(l.attributes...)})
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
			t.Errorf("%q makes %d lines: %s", text, n, &out)
		}
	})
}

// FuzzPod asks with whatever a plugin may send.
func FuzzPod(f *testing.F) {
	f.Add("uid=7&namespace=shop&name=web")
	f.Add("%zz&name=\x00")
	s := &Server{options: Options{
		Status:  func(context.Context, string, string, string) (string, error) { return "{}", nil },
		Asked:   func() {},
		Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler),
	}}
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/v1/pod", RawQuery: query}}
		w := httptest.NewRecorder()
		s.pod(w, r.WithContext(t.Context()))
		if w.Code != http.StatusBadRequest && (w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "shunt.dev/status")) {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	})
}
