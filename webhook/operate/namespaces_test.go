// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/operate"
)

func namespace(name string, labels, annotations map[string]string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: annotations},
	}
}

// namespaces is an API server's namespaces and a cache at work on them.
type namespaces struct {
	*testing.T
	*operate.Namespaces
	client *fake.FakeMetadataClient
	api    fake.MetadataClient
}

func newNamespaces(t *testing.T, running bool, objects ...runtime.Object) *namespaces {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	n := &namespaces{T: t, client: fake.NewSimpleMetadataClient(scheme, objects...)}
	n.api = n.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).(fake.MetadataClient)
	n.Namespaces = operate.NewNamespaces(n.api, slog.New(slog.DiscardHandler))
	if running {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Namespaces.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		n.eventually("the first list", func() bool { return n.Ready() == nil })
	}
	return n
}

func (n *namespaces) want(name string, want operate.Namespace) {
	n.Helper()
	got, err := n.Get(context.Background(), name)
	if err != nil {
		n.Errorf("Get %s: %v", name, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		n.Errorf("Get %s (-want +got):\n%s", name, diff)
	}
}

// eventually waits in real time: one of the reflector's channels is a package
// variable, which the bubble of synctest does not know.
func (n *namespaces) eventually(what string, done func() bool) {
	n.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.Fatalf("waited 10 s in vain for %s", what)
		}
	}
}

func (n *namespaces) calls(verb string) int {
	return len(slices.DeleteFunc(n.client.Actions(), func(a k8stesting.Action) bool { return a.GetVerb() != verb }))
}

func TestWarmCacheAsksNobody(t *testing.T) {
	n := newNamespaces(t, true, namespace("shop", map[string]string{contract.LabelInject: "enabled", "team": "a"}, map[string]string{
		"shunt.dev/log-level": "debug", "proxy.istio.io/config": "x", "istio.io/rev": "y",
		"kubectl.kubernetes.io/last-applied-configuration": "a copy of it all", "notistio.io/x": "z",
	}))
	if err := n.Ready(); err != nil {
		t.Error(err)
	}
	before := len(n.client.Actions())
	for range 1000 {
		n.want("shop", operate.Namespace{
			Labels:      map[string]string{contract.LabelInject: "enabled", "team": "a"},
			Annotations: map[string]string{"shunt.dev/log-level": "debug", "proxy.istio.io/config": "x", "istio.io/rev": "y"},
		})
	}
	if got := len(n.client.Actions()) - before; got != 0 {
		t.Errorf("%d calls of the API server for 1000 reviews, want none", got)
	}
}

func TestNamespacesFollowChanges(t *testing.T) {
	n := newNamespaces(t, true, namespace("b", map[string]string{"l": "v"}, nil), namespace("a", map[string]string{"l": "v"}, nil), namespace("c", map[string]string{"l": "w"}, nil))
	if got := n.Labelled("l", "v"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("labelled %v", got)
	}
	if _, err := n.api.UpdateFake(namespace("a", map[string]string{"l": "w"}, nil), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.api.Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.api.CreateFake(namespace("d", map[string]string{"l": "v"}, nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.eventually("the changes", func() bool { return slices.Equal(n.Labelled("l", "v"), []string{"d"}) })
	n.want("a", operate.Namespace{Labels: map[string]string{"l": "w"}})
	if _, err := n.Get(t.Context(), "b"); err == nil {
		t.Error("a namespace that was deleted is still known")
	}
}

// A namespace and its first pod are applied together: the cache has not seen
// the namespace, and all its pods are reviewed at once.
func TestUnknownNamespaceIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamespaces(t, false, namespace("new", map[string]string{contract.LabelInject: "enabled"}, nil))
		n.client.PrependReactor("get", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			time.Sleep(50 * time.Millisecond)
			return false, nil, nil
		})
		if n.Ready() == nil {
			t.Error("ready before the first list")
		}
		var reviews sync.WaitGroup
		for range 20 {
			reviews.Go(func() { n.want("new", operate.Namespace{Labels: map[string]string{contract.LabelInject: "enabled"}}) })
		}
		reviews.Wait()
		n.want("new", operate.Namespace{Labels: map[string]string{contract.LabelInject: "enabled"}})
		if got := n.calls("get"); got != 1 {
			t.Errorf("%d live reads, want 1", got)
		}
	})
}

func TestNamespaceThatCannotBeRead(t *testing.T) {
	n := newNamespaces(t, true, namespace("known", nil, nil))
	var away atomic.Bool
	away.Store(true)
	n.client.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
		return away.Load(), nil, errors.New("connection refused")
	})
	n.want("known", operate.Namespace{Labels: map[string]string{}})
	if _, err := n.Get(t.Context(), "new"); err == nil || !strings.Contains(err.Error(), "read namespace new") {
		t.Errorf("error %v", err)
	}
	away.Store(false) // an error is not remembered
	if _, err := n.api.CreateFake(namespace("new", nil, nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.want("new", operate.Namespace{Labels: map[string]string{}})
}

// Who gives up does not take the answer from the others.
func TestGivingUpIsOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamespaces(t, false, namespace("new", nil, nil))
		n.client.PrependReactor("get", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			time.Sleep(time.Second)
			return false, nil, nil
		})
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var reviews sync.WaitGroup
		reviews.Go(func() {
			if _, err := n.Get(hasty, "new"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		synctest.Wait()
		reviews.Go(func() { n.want("new", operate.Namespace{Labels: map[string]string{}}) })
		reviews.Wait()
	})
}
