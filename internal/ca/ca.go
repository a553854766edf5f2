// SPDX-License-Identifier: Apache-2.0

// Package ca is the mesh's certificate authority: one ECDSA P-256 key pair that
// every replica of the control plane loads from a Store, and from which each
// issues its own short-lived leaf in memory. It performs no I/O of its own; the
// Store does (see kubesecret). Time is handed in.
package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// Life is how long a new authority is valid; see RenewBefore.
	Life = 10 * 365 * 24 * time.Hour

	// backdate absorbs clocks of nodes that run behind ours.
	backdate = 5 * time.Minute

	pemCertificate = "CERTIFICATE"
	pemKey         = "EC PRIVATE KEY"
)

// Authority is the certificate and the key of the mesh's CA. It is immutable.
type Authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte

	cross  []*x509.Certificate // this and earlier authorities, each certified by the one before
	before *x509.Certificate   // the authority that this one has replaced; nil is none
}

// New makes an authority that is valid from now on for Life.
func New(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial in the name tells two authorities of one cluster apart.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("shunt-ca-%x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(Life),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse new CA certificate: %w", err)
	}
	return &Authority{cert: cert, key: key, certPEM: encodeCert(der)}, nil
}

// Parse reads an authority from PEM, as StoredPEM and KeyPEM write it. It refuses
// a certificate that is no CA and a key that does not belong to it. It does not
// look at the clock; LoadOrCreate does.
func Parse(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("parse CA: %w", err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse CA key: it is %T (only ECDSA is supported)", pair.PrivateKey)
	}
	if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("parse CA certificate: %q may not sign certificates (CA:TRUE and keyCertSign are needed)", cert.Subject)
	}
	a := &Authority{cert: cert, key: key, certPEM: encodeCert(cert.Raw)}
	if err := a.addHistory(pair.Certificate[1:]); err != nil {
		return nil, err
	}
	return a, nil
}

// CertPEM returns the CA's certificate, for those who must trust it.
func (a *Authority) CertPEM() []byte { return bytes.Clone(a.certPEM) }

// KeyPEM returns the CA's private key in SEC 1 form (RFC 5915).
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("encode CA key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// NotAfter is when the authority expires.
func (a *Authority) NotAfter() time.Time { return a.cert.NotAfter }

// Issue returns a server certificate for the names, valid from now for life or
// until the authority itself expires, whichever is first.
func (a *Authority) Issue(now time.Time, life time.Duration, dnsNames ...string) (tls.Certificate, error) {
	if len(dnsNames) == 0 {
		return tls.Certificate{}, errors.New("issue certificate: no DNS name given")
	}
	if life <= 0 {
		return tls.Certificate{}, fmt.Errorf("issue certificate: life %v is not positive", life)
	}
	if err := a.validAt(now); err != nil {
		return tls.Certificate{}, fmt.Errorf("issue certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generate key: %w", err)
	}
	template, err := a.leafTemplate(now, life, dnsNames)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("parse new certificate: %w", err)
	}
	chain := [][]byte{der}
	for _, cert := range alive(a.cross, now) {
		chain = append(chain, cert.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

func (a *Authority) leafTemplate(now time.Time, life time.Duration, dnsNames []string) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(life)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	return &x509.Certificate{
		SerialNumber: serial,
		// No common name: it is limited to 64 bytes, and nothing reads it.
		DNSNames:    dnsNames,
		NotBefore:   now.Add(-backdate),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, nil
}

func (a *Authority) validAt(now time.Time) error {
	if now.After(a.cert.NotAfter) {
		return fmt.Errorf("the CA expired on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	if now.Before(a.cert.NotBefore) {
		return fmt.Errorf("the CA is not valid before %s (is this node's clock right?)", a.cert.NotBefore.Format(time.RFC3339))
	}
	return nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

// newSerial returns a random serial of 127 bits, positive as RFC 5280 section
// 4.1.2.2 wants it. The top bit set keeps its encoding of one length.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return serial.SetBit(serial, 126, 1), nil
}
