// SPDX-License-Identifier: Apache-2.0

package kubesecret_test

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

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
	if got.Type != corev1.SecretTypeTLS || got.Immutable == nil || !*got.Immutable {
		t.Errorf("Secret has type %q, immutable %v", got.Type, got.Immutable)
	}
}
