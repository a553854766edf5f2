// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/shuntmesh/shunt/internal/ca"
)

func keyPEM(t *testing.T, a *ca.Authority) []byte {
	t.Helper()
	key, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(t *testing.T, cert tls.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte(""))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		a, err := ca.Parse(cert, key)
		if (a == nil) == (err == nil) {
			t.Fatalf("Parse gave %v and error %v", a, err)
		}
	})
}
