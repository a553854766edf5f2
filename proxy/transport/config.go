// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// The protocols that ALPN offers by default, in order of preference.
const (
	HTTP2 = "h2"
	HTTP1 = "http/1.1"
)

// ClientCertificates says what a server asks of its clients.
type ClientCertificates uint8

// The choices. A certificate that is shown is always verified.
const (
	NoClientCertificate ClientCertificates = iota
	OptionalClientCertificate
	RequiredClientCertificate
)

// ServerOptions of Certificates.Server.
type ServerOptions struct {
	Clients ClientCertificates
	// Protocols are for ALPN: HTTP2 and HTTP1 when nil. A client that offers
	// only others is refused, one without ALPN is not.
	Protocols []string
}

// ClientOptions of Certificates.Client.
type ClientOptions struct {
	// ServerName is the DNS name or IP address that the server's certificate
	// must be for. It must not be empty.
	ServerName string
	Protocols  []string // as above
}

// Server returns a config for any number of connections, also for Options. Each
// handshake uses what was loaded last: established connections stay as they are.
func (c *Certificates) Server(o ServerOptions) (*tls.Config, error) {
	switch {
	case c.files.Certificate == "":
		return nil, errors.New("serve TLS: no certificate file given")
	case o.Clients != NoClientCertificate && c.files.CA == "":
		// crypto/tls would trust everyone with a public certificate.
		return nil, errors.New("serve TLS: no CA file given to verify clients with")
	}
	s := &server{from: c, options: o}
	config := base(o.Protocols)
	config.GetConfigForClient = s.config
	return config, nil
}

// Client returns a config for connections to one server, with what was loaded
// last: call it anew for each.
func (c *Certificates) Client(o ClientOptions) *tls.Config {
	m := c.current.Load()
	config := base(o.Protocols)
	config.ServerName = o.ServerName
	config.RootCAs = m.roots
	if m.pair != nil {
		// Unlike Certificates this shows it to any server, so that a server
		// that does not trust its issuer says so.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.pair, nil }
	}
	return config
}

// server makes one tls.Config of each set of files.
type server struct {
	from    *Certificates
	options ServerOptions
	made    atomic.Pointer[made]
}

type made struct {
	of     *material
	config *tls.Config
}

func (s *server) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	m := s.from.current.Load()
	if last := s.made.Load(); last != nil && last.of == m {
		return last.config, nil
	}
	config := base(s.options.Protocols)
	config.ClientCAs = m.roots
	config.Certificates = []tls.Certificate{*m.pair}
	switch s.options.Clients {
	case OptionalClientCertificate:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case RequiredClientCertificate:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.made.Store(&made{of: m, config: config})
	return config, nil
}

// base is what both roles share. Cipher suites and curves are Go's: they are
// kept up to date there.
func base(protocols []string) *tls.Config {
	if protocols == nil {
		protocols = []string{HTTP2, HTTP1}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		// A ticket costs each new connection 6 % more CPU and pays off only
		// where clients come back often. Connections between proxies last, and
		// a resumed one would not show that a certificate was replaced.
		SessionTicketsDisabled: true,
		// Otherwise the first 128 KB go out in records that grow from 1.2 KB,
		// which makes a browser draw sooner and costs everyone CPU.
		DynamicRecordSizingDisabled: true,
		Renegotiation:               tls.RenegotiateNever,
	}
}
