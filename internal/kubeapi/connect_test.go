// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/shuntmesh/shunt/internal/kubeapi"
)

// TestConnectFails says what is wrong with the configuration, and what to do.
func TestConnectFails(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // this is no pod
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	broken := write("broken", "clusters: 7\n")
	noAuthority := write("no-authority", clusterConfig("server: 'https://127.0.0.1:1', certificate-authority: /nonexistent"))
	refuses := errors.New("no such kinds")
	for name, tt := range map[string]struct {
		options kubeapi.Options
		says    string
	}{
		"outside of a cluster": {kubeapi.Options{}, "set --kubeconfig"},
		"no such file":         {kubeapi.Options{Kubeconfig: filepath.Join(dir, "none")}, "no such file"},
		"no kubeconfig":        {kubeapi.Options{Kubeconfig: broken}, "set --kubeconfig"},
		"no authority":         {kubeapi.Options{Kubeconfig: noAuthority}, "/nonexistent"},
		"kinds that can't be added": {kubeapi.Options{
			Kubeconfig: kubeconfig(t, "http://127.0.0.1:1"), Schemes: []func(*runtime.Scheme) error{func(*runtime.Scheme) error { return refuses }},
		}, refuses.Error()},
	} {
		c, err := kubeapi.Connect(tt.options)
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q in it", name, err, tt.says)
		}
	}
}

// TestEachGroupHasItsPace: one that has used up its calls waits, and no other
// with it. A call that its context would end before its turn ends at once.
func TestEachGroupHasItsPace(t *testing.T) {
	const qps = 0.5 // so that the burst is one, and the next turn 2 s away
	s := newServer(t, says(http.StatusOK, `{}`))
	c := connect(t, s.url, qps)
	first, second := pods(group(t, c)), pods(group(t, c))
	get := func(from interface {
		Get(context.Context, string, metav1.GetOptions) (*corev1.Pod, error)
	},
	) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := from.Get(ctx, "web-0", metav1.GetOptions{})
		return err
	}
	if err := get(first); err != nil {
		t.Errorf("first call: %v", err)
	}
	if err := get(first); err == nil || !strings.Contains(err.Error(), "rate limiter") {
		t.Errorf("second call: %v, want it to wait for its turn", err)
	}
	if err := get(second); err != nil {
		t.Errorf("first call of another group: %v", err)
	}
	if asked := len(s.asked); asked != 2 {
		t.Errorf("the server was asked %d times, want 2", asked)
	}
}

// What is no object is read as it is, and whoever asks says who it is.
func TestGet(t *testing.T) {
	s := newServer(t, says(http.StatusOK, `{"major":"1"}`))
	got, err := group(t, connect(t, s.url, 100)).Get(t.Context(), "/version")
	if string(got) != `{"major":"1"}` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	asked := s.last(t)
	if agent := asked.header.Get("User-Agent"); asked.call != "GET /version" || !strings.HasSuffix(agent, "/tester") {
		t.Errorf("asked %q as %q", asked.call, agent)
	}
}

// TestMetadata asks for nothing but metadata.
func TestMetadata(t *testing.T) {
	s := newServer(t, says(http.StatusOK, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"web-0","uid":"0c5a"}}`))
	client, err := connect(t, s.url, 100).Metadata()
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace("shop").Get(t.Context(), "web-0", metav1.GetOptions{})
	if err != nil || got.UID != "0c5a" {
		t.Errorf("%+v, %v", got, err)
	}
	asked := s.last(t)
	if accept := asked.header.Get("Accept"); asked.call != "GET /api/v1/namespaces/shop/pods/web-0" || strings.Count(accept, "as=PartialObjectMetadata") == 0 {
		t.Errorf("asked %q for %q", asked.call, accept)
	}
	for kind := range strings.SplitSeq(asked.header.Get("Accept"), ",") {
		if !strings.Contains(kind, "as=PartialObjectMetadata") && strings.TrimSpace(kind) != "application/json" {
			t.Errorf("%q would be whole objects", kind)
		}
	}
}
