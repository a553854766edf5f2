// SPDX-License-Identifier: Apache-2.0

// Package kubesecret keeps the mesh's certificate authority in a Secret of type
// kubernetes.io/tls. It needs create on Secrets and get on that one Secret, in
// the system namespace, and update on it to replace the authority.
package kubesecret

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/internal/ca"
)

// Secrets is what is asked of the API server, in one namespace. client-go's
// typed clients have it; naming them here would link every API group.
type Secrets interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error)
	Create(ctx context.Context, s *corev1.Secret, o metav1.CreateOptions) (*corev1.Secret, error)
	Update(ctx context.Context, s *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error)
}

// Store reads, creates and updates one Secret. It implements ca.Store.
type Store struct {
	secrets Secrets
	name    string
}

var _ ca.Store = (*Store)(nil)

// New returns a store for the named Secret of the namespace that secrets is
// bound to.
func New(secrets Secrets, name string) *Store {
	return &Store{secrets: secrets, name: name}
}

// Load returns the certificate and the key of the Secret, in PEM.
func (s *Store) Load(ctx context.Context) (certPEM, keyPEM []byte, err error) {
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, ca.ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get Secret %q: %w", s.name, err)
	}
	return secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], nil
}

// Create makes the Secret; it never changes one that exists.
func (s *Store) Create(ctx context.Context, certPEM, keyPEM []byte) error {
	_, err := s.secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:   s.name,
			Labels: map[string]string{"app.kubernetes.io/part-of": "shunt"},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certPEM, corev1.TLSPrivateKeyKey: keyPEM},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return ca.ErrExists
	}
	if err != nil {
		return fmt.Errorf("create Secret %q: %w", s.name, err)
	}
	return nil
}

// Replace updates the Secret. The API server refuses an update of any version
// but the one that was read here.
func (s *Store) Replace(ctx context.Context, oldPEM, certPEM, keyPEM []byte) error {
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get Secret %q: %w", s.name, err)
	}
	if !bytes.Equal(secret.Data[corev1.TLSCertKey], oldPEM) {
		return ca.ErrExists
	}
	secret = secret.DeepCopy()
	secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey] = certPEM, keyPEM
	_, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return ca.ErrExists
	}
	if err != nil {
		return fmt.Errorf("update Secret %q: %w", s.name, err)
	}
	return nil
}
