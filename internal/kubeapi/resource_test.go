// SPDX-License-Identifier: Apache-2.0

package kubeapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/shuntmesh/shunt/internal/kubeapi"
)

// Each method asks what the API's conventions say, and returns what it is told.
func TestMethods(t *testing.T) {
	const answer = `{"metadata":{"name":"web-0","resourceVersion":"7"}}`
	s := newServer(t, says(http.StatusOK, answer))
	c := connect(t, s.url, 100)
	pods, nodes := pods(group(t, c)), nodes(group(t, c))
	web := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}
	apps, err := c.Group(appsv1.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	sets := kubeapi.NewResource[appsv1.DaemonSet](apps, "daemonsets", "mesh")
	tests := []struct {
		name string
		do   func(context.Context) (metav1.Object, error)
		want string
		body string // part of it
		kind string // of the body
	}{
		{"get", func(ctx context.Context) (metav1.Object, error) {
			return pods.Get(ctx, "web-0", metav1.GetOptions{ResourceVersion: "0"})
		}, "GET /api/v1/namespaces/shop/pods/web-0?resourceVersion=0", "", ""},
		{"get of no namespace", func(ctx context.Context) (metav1.Object, error) {
			return nodes.Get(ctx, "n1", metav1.GetOptions{})
		}, "GET /api/v1/nodes/n1", "", ""},
		{"get of another group", func(ctx context.Context) (metav1.Object, error) {
			return sets.Get(ctx, "agent", metav1.GetOptions{})
		}, "GET /apis/apps/v1/namespaces/mesh/daemonsets/agent", "", ""},
		{"create", func(ctx context.Context) (metav1.Object, error) {
			return pods.Create(ctx, web, metav1.CreateOptions{DryRun: []string{"All"}, FieldManager: "tester"})
		}, "POST /api/v1/namespaces/shop/pods?dryRun=All&fieldManager=tester", `"name":"web-0"`, "application/json"},
		{"update", func(ctx context.Context) (metav1.Object, error) {
			return pods.Update(ctx, web, metav1.UpdateOptions{})
		}, "PUT /api/v1/namespaces/shop/pods/web-0", `"name":"web-0"`, "application/json"},
		{"patch", func(ctx context.Context) (metav1.Object, error) {
			return nodes.Patch(ctx, "n1", types.MergePatchType, []byte(`{"a":1}`), metav1.PatchOptions{}, "status")
		}, "PATCH /api/v1/nodes/n1/status", `{"a":1}`, "application/merge-patch+json"},
	}
	for _, tt := range tests {
		got, err := tt.do(t.Context())
		if err != nil || got.GetName() != "web-0" || got.GetResourceVersion() != "7" {
			t.Errorf("%s: %v, %v; want what the server answered", tt.name, got, err)
		}
		asked := s.last(t)
		if asked.call != tt.want || !strings.Contains(asked.body, tt.body) || asked.header.Get("Content-Type") != tt.kind {
			t.Errorf("%s: asked %q of kind %q: %s; want %q of kind %q: %s", tt.name, asked.call, asked.header.Get("Content-Type"), asked.body, tt.want, tt.kind, tt.body)
		}
	}
}

func TestListInto(t *testing.T) {
	s := newServer(t, says(http.StatusOK, `{"metadata":{"continue":"more"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`))
	var page corev1.PodList
	err := pods(group(t, connect(t, s.url, 100))).ListInto(t.Context(), metav1.ListOptions{Limit: 2, LabelSelector: "app=web"}, &page)
	if err != nil || len(page.Items) != 2 || page.Items[1].Name != "b" || page.Continue != "more" {
		t.Errorf("%+v, %v; want two pods and where it goes on", page, err)
	}
	if asked := s.last(t); asked.call != "GET /api/v1/namespaces/shop/pods?labelSelector=app%3Dweb&limit=2" {
		t.Errorf("asked %q", asked.call)
	}
}

// Callers tell errors apart by apierrors, and see what the server said.
func TestErrors(t *testing.T) {
	status := func(code int, reason metav1.StatusReason) http.HandlerFunc {
		return says(code, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"so it is","reason":%q,"code":%d}`, reason, code))
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		is     func(error) bool
		says   string
	}{
		{"not found", status(http.StatusNotFound, metav1.StatusReasonNotFound), apierrors.IsNotFound, "so it is"},
		{"conflict", status(http.StatusConflict, metav1.StatusReasonConflict), apierrors.IsConflict, "so it is"},
		{"forbidden", status(http.StatusForbidden, metav1.StatusReasonForbidden), apierrors.IsForbidden, "so it is"},
		{
			"a proxy's answer", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) },
			func(err error) bool { return apierrors.ReasonForError(err) != metav1.StatusReasonUnknown }, "bad gateway",
		},
		{"no JSON", says(http.StatusOK, `{"metadata":`), func(err error) bool { return err != nil }, "JSON"},
		{"what it is not asked for", says(http.StatusOK, `["web-0"]`), func(err error) bool { return err != nil }, "array"},
	}
	for _, tt := range tests {
		s := newServer(t, tt.answer)
		_, err := pods(group(t, connect(t, s.url, 100))).Get(t.Context(), "web-0", metav1.GetOptions{})
		if !tt.is(err) || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.says)
		}
	}
}

// A call ends with its context: whether the server is silent or gone.
func TestDeadlines(t *testing.T) {
	silent := newServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, tt := range map[string]struct{ url, says string }{
		"silent": {silent.url, "deadline exceeded"},
		"gone":   {gone.URL, "refused"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		_, err := pods(group(t, connect(t, tt.url, 100))).Get(ctx, "web-0", metav1.GetOptions{})
		cancel()
		if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), tt.says) || took > 5*time.Second {
			t.Errorf("%s: after %v %v, want %q", name, took, err, tt.says)
		}
	}
}

// TestWatch ends by the server, and by its caller.
func TestWatch(t *testing.T) {
	for name, ends := range map[string]bool{"by the server": true, "by the caller": false} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			says(http.StatusOK, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0"}}}`+"\n")(w, r)
			if !ends {
				_ = http.NewResponseController(w).Flush() // else the caller sees no event
				<-r.Context().Done()
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		seconds := int64(300)
		w, err := pods(group(t, connect(t, s.url, 100))).Watch(ctx, metav1.ListOptions{ResourceVersion: "7", TimeoutSeconds: &seconds})
		if err != nil {
			t.Fatal(err)
		}
		e := <-w.ResultChan()
		if pod, ok := e.Object.(*corev1.Pod); e.Type != watch.Added || !ok || pod.Name != "web-0" {
			t.Errorf("%s: event %+v", name, e)
		}
		if !ends {
			cancel()
		}
		for range w.ResultChan() { // until it is closed
		}
		w.Stop()
		cancel()
		if asked := s.last(t); asked.call != "GET /api/v1/namespaces/shop/pods?resourceVersion=7&timeout=5m0s&timeoutSeconds=300&watch=true" {
			t.Errorf("%s: asked %q", name, asked.call)
		}
	}
}

func TestWatchRefused(t *testing.T) {
	s := newServer(t, says(http.StatusGone, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`))
	_, err := pods(group(t, connect(t, s.url, 100))).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "1"})
	if !apierrors.IsResourceExpired(err) || errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the version has expired", err)
	}
}
