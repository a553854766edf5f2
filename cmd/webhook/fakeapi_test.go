// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// fakeAPI is as much of an API server as the webhook talks to: one Secret, one
// registration, namespaces, Events, Leases. It speaks HTTP on loopback.
type fakeAPI struct {
	*httptest.Server
	namespaces []byte // the answer to a list

	mu       sync.Mutex
	secret   []byte
	bundle   []byte // the registration's caBundle
	requests map[string]int
	changed  chan struct{} // closed at the next change of the registration
}

func newFakeAPI(t *testing.T, namespaces int) *fakeAPI {
	t.Helper()
	f := &fakeAPI{namespaces: namespaceList(t, namespaces), requests: map[string]int{}, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"major":"1","minor":"34"}`) })
	mux.HandleFunc("GET /api/v1/namespaces/shunt-system/secrets/shunt-ca", f.getSecret)
	mux.HandleFunc("POST /api/v1/namespaces/shunt-system/secrets", f.createSecret)
	const registrations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	mux.HandleFunc("GET "+registrations+"/shunt-webhook", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, f.registration()) })
	mux.HandleFunc("PATCH "+registrations+"/shunt-webhook", f.patchRegistration)
	mux.HandleFunc("GET "+registrations, f.watchRegistration)
	mux.HandleFunc("GET /api/v1/namespaces", f.listNamespaces)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/events", echo)
	mux.HandleFunc("PATCH /api/v1/namespaces/{namespace}/events/{name}", echo)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		_, pattern := mux.Handler(r)
		f.requests[r.Method+" "+pattern]++
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.CloseClientConnections() // watches last
		f.Close()
	})
	return f
}

// kubeconfig writes a file that leads to f.
func (f *fakeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"c"}],"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`, f.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// namespaceList is as a cluster's is: with what the API server and kubectl add.
func namespaceList(t *testing.T, n int) []byte {
	t.Helper()
	list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for i := range n {
		list.Items = append(list.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("namespace-%04d", i), UID: "705ab4f5-6393-11e8-b7cc-42010a800002", ResourceVersion: "1",
			Labels: map[string]string{contract.LabelInject: contract.InjectEnabled, "kubernetes.io/metadata.name": fmt.Sprintf("namespace-%04d", i), "team": "payments"},
			Annotations: map[string]string{
				"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 800),
				contract.AnnotationExcludeOutboundPorts:            "5432,6379",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{},"f:labels":{}}}`)}}},
		}})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (f *fakeAPI) listNamespaces(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") == "" {
		_, _ = w.Write(f.namespaces)
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	<-r.Context().Done() // nothing ever changes
}

func (f *fakeAPI) getSecret(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secret == nil {
		reply(w, http.StatusNotFound, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
		return
	}
	_, _ = w.Write(f.secret)
}

func (f *fakeAPI) createSecret(w http.ResponseWriter, r *http.Request) {
	var secret corev1.Secret
	if err := json.NewDecoder(r.Body).Decode(&secret); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secret, _ = json.Marshal(&secret)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(f.secret)
}

func (f *fakeAPI) registration() *admissionregistrationv1.MutatingWebhookConfiguration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: contract.WebhookService, ResourceVersion: "1"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "namespace.webhook.shunt.dev", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: f.bundle},
		}},
	}
}

func (f *fakeAPI) patchRegistration(w http.ResponseWriter, r *http.Request) {
	var patch admissionregistrationv1.MutatingWebhookConfiguration
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil || len(patch.Webhooks) != 1 {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.bundle = patch.Webhooks[0].ClientConfig.CABundle
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	reply(w, http.StatusOK, f.registration())
}

func (f *fakeAPI) watchRegistration(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	f.mu.Lock()
	changed := f.changed
	f.mu.Unlock()
	select {
	case <-changed:
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": f.registration()})
	case <-r.Context().Done():
	}
}

func (f *fakeAPI) calls(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for request, times := range f.requests {
		if strings.Contains(request, what) {
			n += times
		}
	}
	return n
}

func reply(w http.ResponseWriter, status int, object any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func echo(w http.ResponseWriter, r *http.Request) {
	var event corev1.Event
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply(w, http.StatusOK, &event)
}
