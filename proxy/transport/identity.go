// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
)

// Identity is whom a verified certificate was issued to.
type Identity struct {
	// SPIFFE is the SPIFFE ID, "" where the certificate is no valid SVID.
	SPIFFE string
	// URIs and DNSNames are all such names.
	URIs     []string
	DNSNames []string
	// Certificate is the leaf. It is shared and must not be changed.
	Certificate *x509.Certificate
}

// identify returns the peer, or nil where no certificate has been verified.
func identify(s tls.ConnectionState) *Identity {
	if len(s.VerifiedChains) == 0 {
		return nil
	}
	leaf := s.VerifiedChains[0][0]
	id := &Identity{DNSNames: leaf.DNSNames, Certificate: leaf}
	for _, u := range leaf.URIs {
		id.URIs = append(id.URIs, u.String())
	}
	// A leaf is an SVID when it has exactly one URI and signs no others
	// (SPIFFE X509-SVID, sections 2 and 4.1).
	if len(leaf.URIs) == 1 && !leaf.IsCA && validSPIFFE(leaf.URIs[0]) {
		id.SPIFFE = id.URIs[0]
	}
	return id
}

// validSPIFFE checks what sections 2.1 to 2.4 of the SPIFFE ID standard ask for,
// so that equal IDs are equal strings.
func validSPIFFE(u *url.URL) bool {
	const maxID, maxTrustDomain = 2048, 255
	domain, path := u.Host, u.Path
	switch {
	case u.Scheme != "spiffe", u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "", u.Opaque != "":
		return false
	case domain == "", len(domain) > maxTrustDomain, !consistsOf(domain, "-._", false):
		return false
	case u.String() != "spiffe://"+domain+path, len("spiffe://"+domain+path) > maxID:
		return false // what was percent-encoded, or ends in an empty fragment
	case path == "":
		return true
	}
	for _, segment := range strings.Split(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || !consistsOf(segment, "-._", true) {
			return false
		}
	}
	return true
}

// consistsOf tells whether s has only lower-case letters, digits, the others,
// and upper-case letters where they are allowed.
func consistsOf(s, others string, upper bool) bool {
	for _, r := range s {
		lower := 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
		if !lower && !strings.ContainsRune(others, r) && (!upper || r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}
