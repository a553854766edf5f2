// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/shuntmesh/shunt/internal/ca"
)

// apiServer is as much of one as a start needs: it keeps the CA's Secret, and
// has no services. It speaks JSON, which clients accept beside protobuf.
type apiServer struct {
	mu     sync.Mutex
	secret map[string]any
	seen   map[string]bool // "VERB path"
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	verb := r.Method
	if r.URL.Query().Get("watch") != "" {
		verb = "WATCH"
	}
	a.seen[verb+" "+r.URL.Path] = true
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/shunt-system/secrets"):
		a.serveSecret(w, r)
	case verb == "WATCH":
		w.(http.Flusher).Flush()
		a.mu.Unlock()
		<-r.Context().Done()
		a.mu.Lock()
	case r.URL.Path == "/api/v1/services":
		reply(w, http.StatusOK, list("v1", "ServiceList"))
	case r.URL.Path == "/apis/discovery.k8s.io/v1/endpointslices":
		reply(w, http.StatusOK, list("discovery.k8s.io/v1", "EndpointSliceList"))
	default:
		reply(w, http.StatusNotFound, notFound())
	}
}

// serveSecret answers that there is none until it was created. The client sends
// protobuf; what is in it does not matter here, so we make up our own.
func (a *apiServer) serveSecret(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		a.secret = map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "shunt-ca"}}
		reply(w, http.StatusCreated, a.secret)
		return
	}
	if a.secret == nil {
		reply(w, http.StatusNotFound, notFound())
		return
	}
	reply(w, http.StatusOK, a.secret)
}

func list(version, kind string) map[string]any {
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}
}

func notFound() map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client sees a short answer itself
}

func (a *apiServer) start(t *testing.T) (kubeconfig string) {
	t.Helper()
	server := httptest.NewTLSServer(a)
	t.Cleanup(server.Close)
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{
		Server:                   server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

func options(kubeconfig string) Options {
	return Options{
		Log: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0", ListenHTTP: "127.0.0.1:0",
		Kubeconfig: kubeconfig, Namespace: "shunt-system", ClusterDomain: "cluster.local",
	}
}

func TestRun(t *testing.T) {
	api := &apiServer{seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	kubeconfig := api.start(t)
	go func() { done <- Run(ctx, options(kubeconfig)) }()

	want := []string{
		"GET /api/v1/namespaces/shunt-system/secrets/shunt-ca", "POST /api/v1/namespaces/shunt-system/secrets",
		"GET /api/v1/services", "WATCH /api/v1/services",
		"GET /apis/discovery.k8s.io/v1/endpointslices", "WATCH /apis/discovery.k8s.io/v1/endpointslices",
	}
	deadline := time.Now().Add(10 * time.Second)
	for missing := api.missing(want); len(missing) > 0; missing = api.missing(want) {
		if time.Now().After(deadline) {
			t.Fatalf("not asked for: %v", missing)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	// Least RBAC: whatever else was asked for would be refused in a cluster.
	api.mu.Lock()
	defer api.mu.Unlock()
	for _, w := range want {
		delete(api.seen, w)
	}
	if len(api.seen) > 0 {
		t.Errorf("asked for more than the RBAC rules allow: %v", api.seen)
	}
}

func (a *apiServer) missing(want []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, w := range want {
		if !a.seen[w] {
			out = append(out, w)
		}
	}
	return out
}

func TestRunRefuses(t *testing.T) {
	broken := &apiServer{seen: map[string]bool{}, secret: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "shunt-ca"},
		"data": map[string]any{"tls.crt": "bm9uc2Vuc2U="},
	}}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, kubeconfig, want string }{
		{"no kubeconfig, no pod", "", "outside of a pod, give --kubeconfig"},
		{"kubeconfig is garbage", garbage, "find API server"},
		{"stored CA is garbage", broken.start(t), "use stored CA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			err := Run(t.Context(), options(tt.kubeconfig))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// secretStore is a CA's store of which only reading is asked.
type secretStore struct {
	ca.Store
	certPEM, keyPEM []byte
	err             error
}

func (s secretStore) Load(context.Context) (certPEM, keyPEM []byte, err error) {
	return s.certPEM, s.keyPEM, s.err
}

// Discovery takes up the CA that the webhook has put in the place of the old one,
// and goes on with what it has when there is none to be read.
func TestNewest(t *testing.T) {
	old, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	next, err := old.Successor(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := next.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if got := newest(t.Context(), secretStore{certPEM: next.StoredPEM(), keyPEM: key}, log); got == nil || string(got.StoredPEM()) != string(next.StoredPEM()) {
		t.Error("not the CA of the store")
	}
	for name, store := range map[string]secretStore{"away": {err: ca.ErrNotFound}, "wrong key": {certPEM: old.StoredPEM(), keyPEM: key}, "nothing": {}} {
		if got := newest(t.Context(), store, log); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
