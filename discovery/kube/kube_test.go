// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/discovery/auth"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/events"
)

// recorder is a sink that writes down what it gets.
type recorder chan string

func (r recorder) SetService(s *model.Service) { r <- "set service " + s.Key.Name }
func (r recorder) DeleteService(k model.Key)   { r <- "delete service " + k.Name }
func (r recorder) SetSlice(s *model.Slice)     { r <- "set slice " + s.Key.Name + " of " + s.Service }
func (r recorder) DeleteSlice(k model.Key)     { r <- "delete slice " + k.Name }

func (r recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	for len(missing) > 0 {
		select {
		case got := <-r:
			if !missing[got] {
				t.Errorf("sink got %q, want one of %v", got, missing)
			}
			delete(missing, got)
		case <-time.After(5 * time.Second):
			t.Fatalf("sink did not get %v", missing)
		}
	}
}

func TestSource(t *testing.T) {
	defer goleak.VerifyNone(t)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: "demo", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "greeter"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "test"}},
		}
	}
	clients := fake.NewClientset(&corev1.Service{ObjectMeta: meta("greeter")})
	sink := make(recorder, 100)
	log := slog.New(slog.DiscardHandler)
	source := kube.NewSource(clients.CoreV1(), clients.DiscoveryV1(), kube.Options{
		ClusterDomain: "cluster.local", Refusals: kube.NewRefusals(func(events.Happening) {}, log), Log: log,
	}, sink)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	select {
	case <-source.Synced():
	case <-time.After(5 * time.Second):
		t.Fatal("never synced")
	}
	// What was there is in the sink before Synced says so.
	if got := len(sink); got != 1 {
		t.Errorf("%d facts at Synced, want 1", got)
	}
	sink.expect(t, "set service greeter")

	slices := clients.DiscoveryV1().EndpointSlices("demo")
	if _, err := slices.Create(ctx, &discoveryv1.EndpointSlice{ObjectMeta: meta("a")}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sink.expect(t, "set slice a of greeter")
	if err := slices.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := clients.CoreV1().Services("demo").Delete(ctx, "greeter", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	sink.expect(t, "delete slice a", "delete service greeter")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestReviewer(t *testing.T) {
	tests := []struct {
		name     string
		status   authenticationv1.TokenReviewStatus
		err      error
		rejected bool
		want     string
	}{
		{name: "good", status: authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: []string{"shunt-discovery"}, User: authenticationv1.UserInfo{Username: "system:serviceaccount:demo:default"},
		}, want: "system:serviceaccount:demo:default"},
		{name: "not authenticated", status: authenticationv1.TokenReviewStatus{Error: "expired"}, rejected: true},
		{name: "made for another audience", status: authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"api"}}, rejected: true},
		{name: "audience not checked", status: authenticationv1.TokenReviewStatus{Authenticated: true}, rejected: true},
		{name: "API server away", err: errors.New("connection refused")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clients := fake.NewClientset()
			clients.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
				review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
				if fmt.Sprint(review.Spec) != "{token [shunt-discovery]}" {
					t.Errorf("asked for %v", review.Spec)
				}
				review.Status = tt.status
				return true, review, tt.err
			})
			r := kube.NewReviewer(clients.AuthenticationV1().TokenReviews(), "shunt-discovery")
			user, err := r.Review(t.Context(), "token")
			if user != tt.want || errors.Is(err, auth.ErrRejected) != tt.rejected || (err == nil) != (tt.want != "") {
				t.Errorf("Review: %q, %v", user, err)
			}
		})
	}
}
