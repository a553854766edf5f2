// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/shuntmesh/shunt/internal/kubeapi"
)

// server answers like an API server, and writes down what it is asked.
type server struct {
	url    string
	answer http.HandlerFunc

	mu    sync.Mutex
	asked []asked
}

type asked struct {
	call, body string // "GET /path?query"
	header     http.Header
}

// newServer ends with its test, when nothing that it answers is left.
func newServer(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{answer: answer}
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	s.url = listener.URL
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what came of it
	s.mu.Lock()
	s.asked = append(s.asked, asked{r.Method + " " + r.URL.String(), string(body), r.Header.Clone()})
	s.mu.Unlock()
	s.answer(w, r)
}

// last returns what was asked last.
func (s *server) last(t *testing.T) asked {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return s.asked[len(s.asked)-1]
}

// says answers with JSON.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the caller tells what it got
	}
}

// connect reaches a server, at so many calls a second.
func connect(t *testing.T, url string, qps float32) *kubeapi.Connection {
	t.Helper()
	c, err := kubeapi.Connect(kubeapi.Options{
		Kubeconfig: kubeconfig(t, url), UserAgent: "tester", QPS: qps,
		Schemes: []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(clusterConfig(fmt.Sprintf("server: %q", url))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clusterConfig is a kubeconfig that says no more than where the API server is.
func clusterConfig(cluster string) string {
	return "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {" + cluster + "}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
}

func group(t *testing.T, c *kubeapi.Connection) kubeapi.Group {
	t.Helper()
	g, err := c.Group(corev1.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// pods and nodes are kinds with and without a namespace.
func pods(g kubeapi.Group) kubeapi.Resource[corev1.Pod, *corev1.Pod] {
	return kubeapi.NewResource[corev1.Pod](g, "pods", "shop")
}

func nodes(g kubeapi.Group) kubeapi.Resource[corev1.Node, *corev1.Node] {
	return kubeapi.NewResource[corev1.Node](g, "nodes", "")
}
