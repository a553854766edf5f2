// SPDX-License-Identifier: Apache-2.0

package sidecartest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/transport"
)

// MeshName is what the certificates of NewFiles are for, beside 127.0.0.1.
const MeshName = "mesh.test"

// NewFiles writes an authority, and a certificate of it that serves both servers
// and clients. ECDSA P-256, valid for an hour.
func NewFiles(t testing.TB) transport.Files {
	t.Helper()
	caKey, leafKey := newKey(t), newKey(t)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: MeshName}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{MeshName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(t, err)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	return transport.Files{
		Certificate: write("leaf.pem", "CERTIFICATE", leafDER),
		Key:         write("leaf.key", "EC PRIVATE KEY", keyDER),
		CA:          write("ca.pem", "CERTIFICATE", caDER),
	}
}

// ClientTLS is for a client that trusts the authority, and shows the certificate
// or none.
func ClientTLS(t testing.TB, f transport.Files, shows bool) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(f.CA)
	must(t, err)
	config := &tls.Config{ServerName: MeshName, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AppendCertsFromPEM(authority)
	if shows {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		must(t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
