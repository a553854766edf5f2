// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook"
	"github.com/shuntmesh/shunt/webhook/inject"
)

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002"

func injectOptions() inject.Options {
	return inject.Options{Image: "shunt.dev/dataplane:0.1.0", DiscoveryAddress: "discovery:15012", DiscoveryCA: "PEM", Version: "0.1.0"}
}

func labelledNamespace(name string) (inject.Namespace, error) {
	return inject.Namespace{Name: name, Labels: map[string]string{contract.LabelInject: contract.InjectEnabled}}, nil
}

// review is an AdmissionReview as an API server sends it.
func review(t testing.TB, object string, change func(*admissionv1.AdmissionRequest)) []byte {
	t.Helper()
	req := &admissionv1.AdmissionRequest{
		UID:       uid,
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: "shop",
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: []byte(object)},
	}
	if change != nil {
		change(req)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  req,
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func response(t testing.TB, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("parse answer: %v\n%s", err, body)
	}
	if out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" || out.Response == nil {
		t.Fatalf("answer is no AdmissionReview v1: %s", body)
	}
	return out.Response
}

func patched(t testing.TB, object string, patch []byte) string {
	t.Helper()
	steps, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	out, err := steps.Apply([]byte(object))
	if err != nil {
		t.Fatalf("apply %s: %v", patch, err)
	}
	return string(out)
}

const simplePod = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-","creationTimestamp":null},"spec":{"containers":[{"name":"app","image":"app:1"}]}}`

func TestReview(t *testing.T) {
	with := func(old, replacement string) string { return strings.Replace(simplePod, old, replacement, 1) }
	tests := []struct {
		name    string
		object  string
		change  func(*admissionv1.AdmissionRequest)
		verdict webhook.Verdict
		reason  inject.Reason
		words   string
	}{
		{name: "injects", object: simplePod, verdict: webhook.Injected, reason: inject.NamespaceEnabled},
		{name: "dry run", object: simplePod, change: func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }, verdict: webhook.Injected, reason: inject.NamespaceEnabled},
		{name: "host network", object: with(`"containers"`, `"hostNetwork":true,"containers"`), verdict: webhook.Skipped, reason: inject.HostNetwork, words: "node's network"},
		{name: "opted out", object: with(`"creationTimestamp":null`, `"labels":{"shunt.dev/inject":"disabled"}`), verdict: webhook.Skipped, reason: inject.PodDisabled, words: "disabled"},
		{name: "update", object: simplePod, change: func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Update }, verdict: webhook.Skipped, reason: "NotAPodCreation"},
		{name: "delete without object", change: func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Delete; r.Object.Raw = nil }, verdict: webhook.Skipped, reason: "NotAPodCreation"},
		{name: "ephemeral containers", object: simplePod, change: func(r *admissionv1.AdmissionRequest) { r.SubResource = "ephemeralcontainers" }, verdict: webhook.Skipped, reason: "NotAPodCreation"},
		{name: "other resource", object: `{}`, change: func(r *admissionv1.AdmissionRequest) { r.Resource.Resource = "services" }, verdict: webhook.Skipped, reason: "NotAPodCreation"},
		{name: "bad annotation", object: with(`"creationTimestamp":null`, `"annotations":{"shunt.dev/exclude-inbound-ports":"http"}`), verdict: webhook.Refused, reason: inject.BadAnnotation, words: `shunt.dev/exclude-inbound-ports: port list "http"`},
		{name: "long value", object: with(`"creationTimestamp":null`, `"annotations":{"shunt.dev/exclude-inbound-ports":"`+strings.Repeat("ü", 9000)+`"}`), verdict: webhook.Refused, reason: inject.BadAnnotation, words: "9000-9010)"},
		{name: "object that is no pod", object: `{"spec":{"containers":"none"}}`, verdict: webhook.Refused, reason: "NoPod", words: "parse pod"},
		{name: "no object", object: `null`, verdict: webhook.Refused, reason: "NoPod", words: "parse pod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, err := webhook.Review(review(t, tt.object, tt.change), injectOptions(), labelledNamespace)
			if err != nil {
				t.Fatal(err)
			}
			if answer.Verdict != tt.verdict || answer.Reason != tt.reason || !strings.Contains(answer.Message, tt.words) {
				t.Errorf("answer %s %q %q, want %s %q with %q", answer.Verdict, answer.Reason, answer.Message, tt.verdict, tt.reason, tt.words)
			}
			checkResponse(t, answer, response(t, answer.Body))
		})
	}
}

func checkResponse(t *testing.T, answer webhook.Answer, got *admissionv1.AdmissionResponse) {
	t.Helper()
	if got.UID != uid {
		t.Errorf("uid %q, want the request's", got.UID)
	}
	if got.Allowed != (answer.Verdict != webhook.Refused) {
		t.Errorf("allowed %v for %s", got.Allowed, answer.Verdict)
	}
	if (len(got.Patch) > 0) != (answer.Verdict == webhook.Injected) {
		t.Errorf("patch %q for %s", got.Patch, answer.Verdict)
	}
	if answer.Verdict == webhook.Refused && (got.Result == nil || got.Result.Code != 400 || got.Result.Message != answer.Message || len(got.Result.Message) > 1024) {
		t.Errorf("result %+v for a refusal of %q", got.Result, answer.Message)
	}
}

func TestReviewOfNone(t *testing.T) {
	v1beta1 := strings.Replace(string(review(t, simplePod, nil)), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1)
	tests := []struct{ name, body, words string }{
		{"not JSON", "hello", "parse AdmissionReview"},
		{"not an object", "[]", "parse AdmissionReview"},
		{"v1beta1", v1beta1, `"admission.k8s.io/v1beta1" (allowed: AdmissionReview of admission.k8s.io/v1; set admissionReviewVersions: [v1])`},
		{"a pod", simplePod, `got kind "Pod" of "v1"`},
		{"no request", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, "no request"},
		{"no uid", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`, "no uid"},
	}
	for _, tt := range tests {
		if answer, err := webhook.Review([]byte(tt.body), injectOptions(), labelledNamespace); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: answer %+v, error %v; want an error with %q", tt.name, answer, err, tt.words)
		}
	}
}

// Without its namespace nothing can be said of a pod: it is refused, and its
// controller tries again.
func TestReviewWithoutItsNamespace(t *testing.T) {
	away := func(string) (inject.Namespace, error) {
		return inject.Namespace{}, errors.New("read namespace shop: connection refused")
	}
	answer, err := webhook.Review(review(t, simplePod, nil), injectOptions(), away)
	if err != nil {
		t.Fatal(err)
	}
	got := response(t, answer.Body)
	if got.Allowed || got.Result.Code != 503 || got.Result.Reason != metav1.StatusReasonServiceUnavailable || got.Result.Message != "read namespace shop: connection refused" {
		t.Errorf("response %+v", got)
	}
	if answer.Verdict != webhook.Refused || answer.Reason != "NamespaceUnread" {
		t.Errorf("answer %+v", answer)
	}
}

// Events are written to the controller of a pod.
func TestReviewNamesTheOwner(t *testing.T) {
	const owned = `{"metadata":{"generateName":"web-","ownerReferences":[{"kind":"Other","name":"o","uid":"1"},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"2","controller":true}]},"spec":{"containers":[{"name":"app"}]}}`
	answer, err := webhook.Review(review(t, owned, nil), injectOptions(), labelledNamespace)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Owner == nil || answer.Owner.Name != "web" || answer.Pod != "web-*" {
		t.Errorf("owner %+v of %q", answer.Owner, answer.Pod)
	}
}

// An API server newer than our types knows fields that we don't. None is lost,
// not even in a list that we add to.
func TestUnknownFieldsSurvive(t *testing.T) {
	const object = `{"metadata":{"annotations":{},"fromTheFuture":1},"spec":{"fromTheFuture":{"a":2},` +
		`"initContainers":[{"name":"one","fromTheFuture":3}],"volumes":[{"name":"v","fromTheFuture":{"b":4}}],"containers":[{"name":"app","fromTheFuture":5}]}}`
	answer, err := webhook.Review(review(t, object, nil), injectOptions(), labelledNamespace)
	if err != nil {
		t.Fatal(err)
	}
	out := patched(t, object, response(t, answer.Body).Patch)
	if got := strings.Count(out, "fromTheFuture"); got != 5 {
		t.Errorf("%d of 5 unknown fields survived:\n%s", got, out)
	}
	if !strings.Contains(out, contract.ProxyContainer) {
		t.Errorf("not injected:\n%s", out)
	}
}

// crowd is a pod of n containers.
func crowd(n int) string {
	var containers []string
	for i := range n {
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":"app:1","env":[{"name":"N","value":"%d"}]}`, i, i))
	}
	return `{"metadata":{"name":"crowd"},"spec":{"containers":[` + strings.Join(containers, ",") + `]}}`
}

func TestPodOfThousandContainers(t *testing.T) {
	object := crowd(1000)
	answer, err := webhook.Review(review(t, object, nil), injectOptions(), labelledNamespace)
	if err != nil {
		t.Fatal(err)
	}
	out := patched(t, object, response(t, answer.Body).Patch)
	if answer.Verdict != webhook.Injected || !strings.Contains(out, contract.ProxyContainer) || strings.Count(out, `"image":"app:1"`) != 1000 {
		t.Errorf("%s: %s", answer.Verdict, answer.Message)
	}
	refused := strings.ReplaceAll(object, `"image":"app:1"`, `"image":"app:1","securityContext":{"runAsUser":1337}`)
	if answer, err = webhook.Review(review(t, refused, nil), injectOptions(), labelledNamespace); err != nil {
		t.Fatal(err)
	}
	if answer.Verdict != webhook.Refused || answer.Reason != inject.ProxyUser || len(answer.Message) > 1024 {
		t.Errorf("%s (%s): %s", answer.Verdict, answer.Reason, answer.Message)
	}
}

func FuzzReview(f *testing.F) {
	f.Add(review(f, simplePod, nil))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","resource":{"version":"v1","resource":"pods"},"object":{"metadata":{"annotations":{"shunt.dev/x":""}},"spec":{"initContainers":[{}]}}}}`))
	f.Add([]byte(`{}`))
	f.Add(review(f, crowd(20), nil))
	f.Add(review(f, simplePod, func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true); r.Namespace = "" })[:300])
	f.Add(bytes.ReplaceAll(review(f, simplePod, nil), []byte("admission.k8s.io/v1"), []byte("admission.k8s.io/v1beta1")))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := webhook.Review(body, injectOptions(), labelledNamespace)
		if err != nil {
			return
		}
		got := response(t, answer.Body)
		if got.UID == "" {
			t.Error("the answer has no uid")
		}
		if answer.Verdict != webhook.Injected {
			return
		}
		if _, err := jsonpatch.DecodePatch(got.Patch); err != nil {
			t.Errorf("patch: %v", err)
		}
	})
}

func BenchmarkReview(b *testing.B) {
	body := review(b, simplePod, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := webhook.Review(body, injectOptions(), labelledNamespace); err != nil {
			b.Fatal(err)
		}
	}
}
