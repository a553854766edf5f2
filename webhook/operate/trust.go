// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	"github.com/shuntmesh/shunt/internal/ca"
)

// overlap is how long a replaced CA is trusted beside the new one: far longer
// than all replicas need to see the replacement (reread).
const overlap = 10 * time.Minute

// maxForeign bounds the certificates beside ours in a caBundle.
const maxForeign = 3

// trust is the CA in use and the one before. It is immutable.
type trust struct {
	current  *ca.Authority
	previous *ca.Authority // nil, or what current replaced
	since    time.Time     // current was first seen
}

func (t *trust) overlaps(now time.Time) bool { return now.Sub(t.since) < overlap }

func (t *trust) bundle(now time.Time) string {
	roots := t.current.Roots(now)
	if t.previous != nil && t.overlaps(now) && !contains(roots, t.previous.CertPEM()) {
		roots = append(roots, t.previous.CertPEM())
	}
	return string(bytes.Join(roots, nil))
}

// want returns what a caBundle should be that is now have. It is have itself
// when there is nothing to change, whatever the order of the certificates.
//
// While t overlaps, other certificates are kept: they may be of replicas that
// have not seen the replacement yet, or have seen it before us. So two replicas
// never undo each other's work.
func (t *trust) want(have []byte, now time.Time) []byte {
	want := t.current.Roots(now)
	ours := len(want)
	present, clean := certificates(have)
	for _, cert := range present {
		if t.overlaps(now) && len(want) < ours+maxForeign && !contains(want, cert) && alive(cert, now) {
			want = append(want, cert)
		}
	}
	if clean && len(present) == len(want) && !slices.ContainsFunc(want[:ours], func(cert []byte) bool { return !contains(present, cert) }) {
		return have
	}
	return bytes.Join(want, nil)
}

// certificates splits a bundle; clean is false when anything else is in it.
func certificates(bundle []byte) (certs [][]byte, clean bool) {
	clean = true
	for len(bytes.TrimSpace(bundle)) > 0 {
		block, rest := pem.Decode(bundle)
		if block == nil {
			return certs, false
		}
		if block.Type != "CERTIFICATE" {
			clean = false
		} else {
			certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
		bundle = rest
	}
	return certs, clean
}

func contains(certs [][]byte, cert []byte) bool {
	for _, c := range certs {
		if bytes.Equal(c, cert) {
			return true
		}
	}
	return false
}

// alive also drops what is no certificate: the API server refuses a bundle
// with one that it can't parse.
func alive(certPEM []byte, now time.Time) bool {
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && now.Before(cert.NotAfter)
}
