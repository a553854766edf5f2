// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook"
	"github.com/shuntmesh/shunt/webhook/inject"
)

const serverName = contract.WebhookService + "." + contract.SystemNamespace + ".svc"

// linger is short, and longer than a review takes.
const linger = 300 * time.Millisecond

// running is a server on loopback with a certificate of its own authority.
type running struct {
	*webhook.Server
	client  *http.Client // trusts the authority, as the caBundle makes the API server
	plain   *http.Client
	unready atomic.Pointer[error]
	stop    func() error

	mu       sync.Mutex
	reviewed []webhook.Answer
}

func run(t *testing.T) *running {
	t.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(time.Now(), time.Hour, serverName)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{plain: &http.Client{Transport: &http.Transport{}}}
	r.Server, err = webhook.NewServer(webhook.Options{
		Listen: "127.0.0.1:0", ControlListen: "127.0.0.1:0",
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		Ready: func() error {
			if err := r.unready.Load(); err != nil {
				return *err
			}
			return nil
		},
		Inject: func() inject.Options { return injectOptions() },
		Linger: linger,
		Namespace: func(_ context.Context, name string) (inject.Namespace, error) {
			return inject.Namespace{Name: name}, nil
		},
		Reviewed: func(a webhook.Answer) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reviewed = append(r.reviewed, a)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CertPEM())
	r.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2:     true,
		ExpectContinueTimeout: 5 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS13},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var stopped bool
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-done
		r.client.CloseIdleConnections()
		r.plain.CloseIdleConnections()
		return err
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return r
}

func (r *running) post(t *testing.T, contentType string, body io.Reader) (int, []byte) {
	t.Helper()
	return r.postTo(t, webhook.NamespacePath, contentType, body)
}

// postTo returns when the answer has ended, and with it the handler.
func (r *running) postTo(t *testing.T, path, contentType string, body io.Reader) (int, []byte) {
	t.Helper()
	resp, err := r.client.Post("https://"+r.Addr().String()+path+"?timeout=5s", contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		t.Errorf("%s, want HTTP/2 as API servers speak it", resp.Proto)
	}
	return resp.StatusCode, text
}

func (r *running) control(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := r.plain.Get("http://" + r.ControlAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestServer(t *testing.T) {
	r := run(t)
	dryRun := func(req *admissionv1.AdmissionRequest) { req.DryRun = new(true) }
	status, body := r.post(t, "application/json", bytes.NewReader(review(t, simplePod, nil)))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	got := response(t, body)
	if got.UID != uid || !got.Allowed || *got.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Errorf("response %+v", got)
	}
	pod := patched(t, simplePod, got.Patch)
	for _, want := range []string{contract.ProxyContainer, contract.InitContainer, contract.AnnotationStatus} {
		if !strings.Contains(pod, want) {
			t.Errorf("the patched pod lacks %s: %s", want, pod)
		}
	}
	// What came out goes in again, as reinvocationPolicy IfNeeded does it.
	_, body = r.post(t, "application/json; charset=utf-8", strings.NewReader(string(review(t, pod, nil))))
	if again := response(t, body); !again.Allowed || len(again.Patch) > 0 {
		t.Errorf("second pass: %+v", again)
	}
	r.post(t, "application/json", bytes.NewReader(review(t, simplePod, dryRun)))
	bad := strings.Replace(simplePod, `"creationTimestamp":null`, `"annotations":{"shunt.dev/nope":""}`, 1)
	r.post(t, "application/json", bytes.NewReader(review(t, bad, nil)))

	_, text := r.control(t, "/metrics")
	for _, want := range []string{
		`shunt_webhook_reviews_total{reason="NamespaceEnabled",verdict="injected"} 1` + "\n", // the dry run is not counted
		`shunt_webhook_reviews_total{reason="AlreadyInjected",verdict="skipped"} 1` + "\n",
		`shunt_webhook_reviews_total{reason="BadAnnotation",verdict="refused"} 1` + "\n",
		"shunt_webhook_malformed_requests_total 0\n",
		"shunt_webhook_review_duration_seconds_count 3\n",
		"shunt_webhook_certificate_expiry_timestamp_seconds 1.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reviewed) != 3 {
		t.Errorf("%d answers were told of, want the 3 that were no dry run", len(r.reviewed))
	}
}

// The cache of this test knows no label: a pod that says nothing itself gets a
// proxy only by the path of the entry for labelled namespaces.
func TestPathSaysThatTheNamespaceIsLabelled(t *testing.T) {
	r := run(t)
	for path, verdict := range map[string]webhook.Verdict{webhook.Path: webhook.Skipped, webhook.NamespacePath: webhook.Injected} {
		r.postTo(t, path, "application/json", bytes.NewReader(review(t, simplePod, nil)))
		r.mu.Lock()
		if last := r.reviewed[len(r.reviewed)-1]; last.Verdict != verdict {
			t.Errorf("%s: %s (%s), want %s", path, last.Verdict, last.Reason, verdict)
		}
		r.mu.Unlock()
	}
}

func TestServerRefusesWhatIsNoReview(t *testing.T) {
	r := run(t)
	tests := []struct {
		name, contentType, body string
		status                  int
		words                   string
	}{
		{"text", "text/plain", "{}", http.StatusUnsupportedMediaType, `content type "text/plain" (allowed: application/json)`},
		{"no type", "", "{}", http.StatusUnsupportedMediaType, "application/json"},
		{"empty", "application/json", "", http.StatusBadRequest, "the body is empty"},
		{"not JSON", "application/json", "{", http.StatusBadRequest, "parse AdmissionReview"},
		{"truncated", "application/json", string(review(t, simplePod, nil)[:200]), http.StatusBadRequest, "parse AdmissionReview"},
		{"v1beta1", "application/json", strings.Replace(string(review(t, simplePod, nil)), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), http.StatusBadRequest, "admissionReviewVersions: [v1]"},
		{"protobuf", "application/vnd.kubernetes.protobuf", "k8s\x00", http.StatusUnsupportedMediaType, "allowed: application/json"},
		{"deep", "application/json", strings.Repeat("[", 1<<20), http.StatusBadRequest, "parse AdmissionReview"},
		{"10 MB", "application/json", strings.Repeat(" ", 10_000_000), http.StatusRequestEntityTooLarge, "larger than 4194304 bytes"},
		{"too large", "application/json", strings.Repeat(" ", 4<<20+1), http.StatusRequestEntityTooLarge, "larger than 4194304 bytes"},
	}
	for _, tt := range tests {
		status, body := r.post(t, tt.contentType, strings.NewReader(tt.body))
		if status != tt.status || !strings.Contains(string(body), tt.words) {
			t.Errorf("%s: %d %s, want %d with %q", tt.name, status, body, tt.status, tt.words)
		}
	}
	resp, err := r.client.Get("https://" + r.Addr().String() + webhook.Path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestReady(t *testing.T) {
	r := run(t)
	if status, text := r.control(t, "/ready"); status != http.StatusOK {
		t.Errorf("ready: %d %s", status, text)
	}
	r.unready.Store(new(errors.New("no certificate yet")))
	if status, text := r.control(t, "/ready"); status != http.StatusServiceUnavailable || !strings.Contains(text, "no certificate yet") {
		t.Errorf("not ready: %d %s", status, text)
	}
}

// Reviews that the API server sends before it has heard of the end are
// answered, while /ready already says no.
func TestReviewsAreTakenWhileLingering(t *testing.T) {
	r := run(t)
	stopped := make(chan error, 1)
	start := time.Now()
	go func() { stopped <- r.stop() }()
	for { // the end has begun
		if status, text := r.control(t, "/ready"); status == http.StatusServiceUnavailable && strings.Contains(text, "shutting down") {
			break
		}
		if time.Since(start) > linger {
			t.Fatal("still ready")
		}
	}
	var conns []net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { conns = append(conns, c.Conn) }}
	for range 2 {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPost,
			"https://"+r.Addr().String()+webhook.Path, bytes.NewReader(review(t, simplePod, nil)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("review while lingering: %s, %v", resp.Status, err)
		}
		resp.Body.Close()
		time.Sleep(20 * time.Millisecond) // GOAWAY is on its way
	}
	if len(conns) != 2 || conns[0] == conns[1] {
		t.Errorf("%d reviews on one connection while lingering: the API server would not move on", len(conns))
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took < linger {
		t.Errorf("ended after %v, want %v at least", took, linger)
	}
}

// All of a Deployment's pods come at once, on one connection. Those that wait
// for their turn must not keep those that have it from being read.
func TestManyLargeReviewsOnOneConnection(t *testing.T) {
	r := run(t)
	inlined := strings.Replace(simplePod, `"creationTimestamp":null`, `"annotations":{"file":"`+strings.Repeat("x", 80<<10)+`"}`, 1)
	body := review(t, inlined, nil)
	r.client.Timeout = 30 * time.Second // a stand-still ends by the server's timeout, with a status
	r.post(t, "application/json", bytes.NewReader(body))
	var posts sync.WaitGroup
	for range 80 {
		posts.Go(func() {
			resp, err := r.client.Post("https://"+r.Addr().String()+webhook.NamespacePath, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s, %v", resp.Status, text, err)
			}
		})
	}
	posts.Wait()
}

// A review under way when the shutdown begins still gets its answer.
func TestShutdownLetsReviewsEnd(t *testing.T) {
	r := run(t)
	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.Addr().String()+webhook.Path, read)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Expect", "100-continue") // the first byte is sent when the handler reads
	answered := make(chan string, 1)
	go func() {
		resp, err := r.client.Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		answered <- resp.Status
	}()
	body := review(t, simplePod, nil)
	if _, err := write.Write(body[:10]); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	time.Sleep(linger + 50*time.Millisecond) // the shutdown is under way, with or without this
	if _, err := write.Write(body[10:]); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if got := <-answered; got != "200 OK" {
		t.Errorf("review at shutdown: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	r := run(t)
	_, err := webhook.NewServer(webhook.Options{Listen: r.Addr().String(), ControlListen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "listen for reviews") {
		t.Errorf("error %v", err)
	}
}
