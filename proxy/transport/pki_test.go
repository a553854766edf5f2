// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates of tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key, a.pem = sign(t, template, template, nil)
	return a
}

// leaf is what a certificate of a test says.
type leaf struct {
	serial   int64
	dns      []string
	uris     []string
	notAfter time.Time // in an hour when zero
}

// issue returns a chain and its key, both PEM.
func (a *authority) issue(t testing.TB, l leaf) (certificate, key []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(l.serial), DNSNames: l.dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: l.notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if l.notAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	for _, uri := range l.uris {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	_, private, certificate := sign(t, template, a.certificate, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign makes a certificate with a new key. Without a key of the parent it is
// self-signed.
func sign(t testing.TB, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

const (
	serverName = "web.shop.svc"
	serverID   = "spiffe://cluster.local/ns/shop/sa/web"
	clientID   = "spiffe://cluster.local/ns/shop/sa/client"
)

// write stores one set of files in dir, as Kubernetes mounts a secret.
func (a *authority) write(t testing.TB, dir string, l leaf) Files {
	t.Helper()
	certificate, key := a.issue(t, l)
	f := Files{
		Certificate: filepath.Join(dir, "tls.crt"),
		Key:         filepath.Join(dir, "tls.key"),
		CA:          filepath.Join(dir, "ca.crt"),
	}
	for path, content := range map[string][]byte{f.Certificate: certificate, f.Key: key, f.CA: a.pem} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// load writes files and loads them, whatever is wrong with their time.
func (a *authority) load(t testing.TB, l leaf) *Certificates {
	t.Helper()
	f := a.write(t, t.TempDir(), l)
	f.Now = func() time.Time { return time.Now().Add(-30 * time.Minute) }
	c, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a CA with a server and a client that trust each other.
type world struct {
	ca             *authority
	server, client *Certificates
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca := newAuthority(t, "CA")
	return &world{
		ca:     ca,
		server: ca.load(t, leaf{serial: 2, dns: []string{serverName}, uris: []string{serverID}}),
		client: ca.load(t, leaf{serial: 3, uris: []string{clientID}}),
	}
}
