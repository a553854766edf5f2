// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook"
)

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
