// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/certs"
)

// TestWrite: both ends verify the certificate with the authority.
func TestWrite(t *testing.T) {
	f, err := certs.Write(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{f.Cert, f.Key}, {f.Bundle, f.Bundle}} {
		c, err := tls.LoadX509KeyPair(pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			t.Fatal("no authority")
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			o := x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1", KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := c.Leaf.Verify(o); err != nil {
				t.Error(err)
			}
		}
	}
}
