// SPDX-License-Identifier: Apache-2.0

package kubesecret_test

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
	"github.com/shuntmesh/shunt/internal/contract"
)

func TestStore(t *testing.T) {
	secrets := fake.NewClientset().CoreV1().Secrets(contract.SystemNamespace)
	store := kubesecret.New(secrets, contract.CASecret)

	if _, _, err := store.Load(t.Context()); !errors.Is(err, ca.ErrNotFound) {
		t.Fatalf("Load of nothing: %v, want ErrNotFound", err)
	}
	first, err := ca.LoadOrCreate(t.Context(), store, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	second, err := ca.LoadOrCreate(t.Context(), store, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if string(first.CertPEM()) != string(second.CertPEM()) {
		t.Error("two replicas have two authorities")
	}
	if err := store.Create(t.Context(), nil, nil); !errors.Is(err, ca.ErrExists) {
		t.Errorf("second Create: %v, want ErrExists", err)
	}
	got, err := secrets.Get(t.Context(), contract.CASecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != corev1.SecretTypeTLS || got.Immutable != nil {
		t.Errorf("Secret has type %q, immutable %v", got.Type, got.Immutable)
	}
}

// Two replicas replace the authority at once: one does, the other is told.
func TestReplace(t *testing.T) {
	client := fake.NewClientset()
	secrets := client.CoreV1().Secrets(contract.SystemNamespace)
	store := kubesecret.New(secrets, contract.CASecret)
	if err := store.Replace(t.Context(), nil, nil, nil); err == nil || errors.Is(err, ca.ErrExists) {
		t.Errorf("replace nothing: %v", err)
	}
	if err := store.Create(t.Context(), []byte("one"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := store.Replace(t.Context(), []byte("one"), []byte("two"), []byte("2")); err != nil {
		t.Error(err)
	}
	if err := store.Replace(t.Context(), []byte("one"), []byte("three"), []byte("3")); !errors.Is(err, ca.ErrExists) {
		t.Errorf("replace what is not there any more: %v, want ErrExists", err)
	}
	client.PrependReactor("update", "secrets", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewConflict(schema.GroupResource{}, contract.CASecret, errors.New("stale"))
	})
	if err := store.Replace(t.Context(), []byte("two"), []byte("three"), []byte("3")); !errors.Is(err, ca.ErrExists) {
		t.Errorf("somebody was faster between reading and writing: %v, want ErrExists", err)
	}
	if cert, key, err := store.Load(t.Context()); string(cert) != "two" || string(key) != "2" || err != nil {
		t.Errorf("stored %q, %q, %v", cert, key, err)
	}
}
