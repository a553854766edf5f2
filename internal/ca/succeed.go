// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// RenewBefore is how long before its end an authority is due to be replaced. A
// pod that was made before trusts the old one alone, until it is made anew: so
// long has it time for that.
const RenewBefore = 2 * 365 * 24 * time.Hour

// Due reports whether the authority is to be replaced by now.
func (a *Authority) Due(now time.Time) bool { return !now.Before(a.cert.NotAfter.Add(-RenewBefore)) }

// Successor makes the authority that replaces a without a gap. Those who know a
// alone believe its leaves, since a has certified it (RFC 5280 section 3.2, a
// cross-certificate) and each leaf comes with that; those who know it also know
// a (see Roots), so leaves of replicas that have not taken it up are believed
// too.
func (a *Authority) Successor(now time.Time) (*Authority, error) {
	if err := a.validAt(now); err != nil {
		return nil, fmt.Errorf("replace CA: %w", err)
	}
	next, err := New(now)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            next.cert.RawSubject,
		SubjectKeyId:          next.cert.SubjectKeyId,
		NotBefore:             now.Add(-backdate),
		NotAfter:              a.cert.NotAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              next.cert.KeyUsage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, next.cert.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certify new CA by the old one: %w", err)
	}
	cross, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse new CA certificate: %w", err)
	}
	next.cross = append([]*x509.Certificate{cross}, alive(a.cross, now)...)
	next.before = a.cert
	return next, nil
}

// addHistory reads what Successor added, in any order.
func (a *Authority) addHistory(ders [][]byte) error {
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return fmt.Errorf("parse certificate of an earlier CA: %w", err)
		case !cert.IsCA:
			return fmt.Errorf("parse certificate of an earlier CA: %q may not sign certificates", cert.Subject)
		case !bytes.Equal(cert.RawSubject, cert.RawIssuer):
			a.cross = append(a.cross, cert)
		case a.before != nil:
			return errors.New("parse certificates of earlier CAs: there are two (allowed: the one before)")
		default:
			a.before = cert
		}
	}
	return nil
}

// StoredPEM returns what a Store keeps of the authority beside its key: its
// certificate first, then those of its history.
func (a *Authority) StoredPEM() []byte {
	out := a.CertPEM()
	for _, cert := range a.cross {
		out = append(out, encodeCert(cert.Raw)...)
	}
	if a.before != nil {
		out = append(out, encodeCert(a.before.Raw)...)
	}
	return out
}

// Roots returns the certificates that the mesh is to trust, each as PEM: this
// authority's, and the one's before it for as long as that is valid.
func (a *Authority) Roots(now time.Time) [][]byte {
	out := [][]byte{a.CertPEM()}
	if a.before != nil && now.Before(a.before.NotAfter) {
		out = append(out, encodeCert(a.before.Raw))
	}
	return out
}

func alive(certs []*x509.Certificate, now time.Time) (out []*x509.Certificate) {
	for _, cert := range certs {
		if now.Before(cert.NotAfter) {
			out = append(out, cert)
		}
	}
	return out
}

// Renew replaces the stored authority when it is due, and returns the one to
// use. Any number of replicas may do this at once: the store takes the work of
// one, and the others read that.
func Renew(ctx context.Context, s Store, a *Authority, now time.Time) (*Authority, error) {
	if !a.Due(now) {
		return a, nil
	}
	next, err := a.Successor(now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := next.KeyPEM()
	if err != nil {
		return nil, err
	}
	err = s.Replace(ctx, a.StoredPEM(), next.StoredPEM(), keyPEM)
	if errors.Is(err, ErrExists) {
		return load(ctx, s, now)
	}
	if err != nil {
		return nil, fmt.Errorf("replace CA: %w", err)
	}
	return next, nil
}
