// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// material is one immutable set of files.
type material struct {
	digest digest
	pair   *tls.Certificate // nil for clients that show none
	roots  *x509.CertPool   // nil is the system's
}

// parse makes of the content what handshakes use. A certificate that no peer
// would accept at this time is an error.
func (f *Files) parse(c content) (*material, error) {
	m := &material{digest: c.digest()}
	if f.CA != "" {
		roots, err := parseCertificates(c[2])
		if err != nil {
			return nil, fmt.Errorf("parse CA %s: %w", f.CA, err)
		}
		m.roots = x509.NewCertPool()
		for _, root := range roots {
			m.roots.AddCert(root)
		}
	}
	if f.Certificate == "" {
		return m, nil
	}
	chain, err := parseCertificates(c[0])
	if err != nil {
		return nil, fmt.Errorf("parse certificate %s: %w", f.Certificate, err)
	}
	if err := current(chain[0], f.Now()); err != nil {
		return nil, fmt.Errorf("use certificate %s: %w", f.Certificate, err)
	}
	pair, err := tls.X509KeyPair(c[0], c[1])
	if err != nil {
		return nil, fmt.Errorf("parse key %s of certificate %s: %w", f.Key, f.Certificate, err)
	}
	pair.Leaf = chain[0]
	m.pair = &pair
	return m, nil
}

// parseCertificates returns all certificates of a PEM file, at least one. Text
// around the blocks is ignored, as it is everywhere.
func parseCertificates(file []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is a %s (only certificates belong here)", len(out)+1, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse PEM block %d: %w", len(out)+1, err)
		}
		out = append(out, certificate)
	}
	// Decode passes over blocks that it can't decode.
	switch begun := bytes.Count(file, []byte("-----BEGIN ")); {
	case begun > len(out):
		return nil, fmt.Errorf("%d of %d PEM blocks are damaged", begun-len(out), begun)
	case len(out) == 0:
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

func current(c *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf("not valid before %s", c.NotBefore.Format(time.RFC3339))
	case now.After(c.NotAfter):
		return fmt.Errorf("expired on %s", c.NotAfter.Format(time.RFC3339))
	}
	return nil
}
