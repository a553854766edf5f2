// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestResult(t *testing.T) {
	w := newWorld(t)
	server := w.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate})
	s, c := shake(t, server, w.client.Client(ClientOptions{ServerName: serverName}))
	s.must(t)
	c.must(t)
	if s.Protocol != HTTP2 || c.Protocol != HTTP2 {
		t.Errorf("protocols are %q and %q", s.Protocol, c.Protocol)
	}
	if s.Peer == nil || s.Peer.SPIFFE != clientID || !slices.Equal(s.Peer.URIs, []string{clientID}) || len(s.Peer.DNSNames) > 0 {
		t.Errorf("the server knows the client as %+v", s.Peer)
	}
	if c.Peer == nil || c.Peer.SPIFFE != serverID || !slices.Equal(c.Peer.DNSNames, []string{serverName}) {
		t.Errorf("the client knows the server as %+v", c.Peer)
	}
	for _, r := range []Result{s, c} {
		if v := r.Transport.conn.ConnectionState().Version; v != tls.VersionTLS13 {
			t.Errorf("version is %s", tls.VersionName(v))
		}
	}
}

func TestProtocols(t *testing.T) {
	w := newWorld(t)
	only := func(p ...string) []string { return p }
	tests := map[string]struct {
		server, client []string
		want           string
		refused        bool
	}{
		"both":              {nil, nil, HTTP2, false},
		"old client":        {nil, only(HTTP1), HTTP1, false},
		"client without":    {nil, []string{}, "", false},
		"server without":    {[]string{}, nil, "", false},
		"mismatch":          {only(HTTP2), only("acme-tls/1"), "", true},
		"mismatch of other": {nil, only("spdy/3"), "", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, c := shake(t, w.serverConfig(t, ServerOptions{Protocols: test.server}),
				w.client.Client(ClientOptions{ServerName: serverName, Protocols: test.client}))
			if test.refused {
				if s.Err == nil || c.Err == nil || !strings.Contains(c.Err.Error(), "no application protocol") {
					t.Errorf("errors are %v and %v", s.Err, c.Err)
				}
				return
			}
			if s.must(t).Protocol != test.want || c.must(t).Protocol != test.want {
				t.Errorf("protocols are %q and %q, want %q", s.Protocol, c.Protocol, test.want)
			}
		})
	}
}

func TestTLS12(t *testing.T) {
	w := newWorld(t)
	client := w.client.Client(ClientOptions{ServerName: serverName})
	client.MaxVersion = tls.VersionTLS12
	s, c := shake(t, w.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate}), client)
	if s.must(t).Peer == nil || c.must(t).Protocol != HTTP2 {
		t.Errorf("peer is %v, protocol is %q", s.Peer, c.Protocol)
	}
	client.MinVersion, client.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	if s, c = shake(t, w.serverConfig(t, ServerOptions{}), client); s.Err == nil || c.Err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

// TestRefusedPeers checks that both sides are told why.
func TestRefusedPeers(t *testing.T) {
	w := newWorld(t)
	other := newAuthority(t, "another CA")
	expired := leaf{serial: 9, dns: []string{serverName}, notAfter: time.Now().Add(-time.Minute)}
	stranger := other.load(t, leaf{serial: 8, dns: []string{serverName}})
	tests := map[string]struct {
		server, client *Certificates
		name           string
		clients        ClientCertificates
		want, told     string // what the one at fault's peer says, and what the one at fault hears
		fault          string
	}{
		"server of another CA": {stranger, w.client, serverName, 0, "unknown authority", "bad certificate", "server"},
		"expired server":       {w.ca.load(t, expired), w.client, serverName, 0, "expired", "bad certificate", "server"},
		"server of another name": {
			w.server, w.client, "shop.svc", 0, "not shop.svc", "bad certificate", "server",
		},
		"client of another CA": {w.server, stranger, serverName, RequiredClientCertificate, "unknown authority", "unknown certificate authority", "client"},
		"optional client of another CA": {
			w.server, stranger, serverName, OptionalClientCertificate, "unknown authority", "unknown certificate authority", "client",
		},
		"expired client":   {w.server, w.ca.load(t, expired), serverName, RequiredClientCertificate, "expired", "expired certificate", "client"},
		"no client's name": {w.server, w.client, "", 0, "ServerName", "", "server"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, err := test.server.Server(ServerOptions{Clients: test.clients})
			if err != nil {
				t.Fatal(err)
			}
			// So that the client fails for the reason of the test alone.
			trusting := *test.client.current.Load()
			if test.fault == "client" {
				trusting.roots = w.client.current.Load().roots
			}
			client := &Certificates{files: test.client.files}
			client.current.Store(&trusting)
			s, c := shake(t, server, client.Client(ClientOptions{ServerName: test.name}))
			says, hears := c.Err, s.Err
			if test.fault == "client" {
				says, hears = s.Err, hear(t, c)
			}
			if says == nil || !strings.Contains(says.Error(), test.want) || !strings.Contains(says.Error(), "127.0.0.1:") {
				t.Errorf("peer says %v, want %q", says, test.want)
			}
			if hears == nil || !strings.Contains(hears.Error(), test.told) {
				t.Errorf("%s hears %v, want %q", test.fault, hears, test.told)
			}
		})
	}
}

// hear returns what a client of TLS 1.3 reads, for which the handshake is over
// before the server has seen its certificate.
func hear(t *testing.T, c Result) error {
	t.Helper()
	if c.Err != nil {
		return c.Err
	}
	r := &relay{conn: c.Conn, tls: c.Transport}
	// Bytes that the server does not read must not cost us the alert.
	if err := r.send([]byte("PRI * HTTP/2.0")); err != nil {
		t.Fatal(err)
	}
	return r.run(func(_, out []byte) []byte { return out })
}

func TestClientCertificateMissing(t *testing.T) {
	w := newWorld(t)
	anonymous, err := Load(Files{CA: w.client.files.CA})
	if err != nil {
		t.Fatal(err)
	}
	config := anonymous.Client(ClientOptions{ServerName: serverName})

	s, c := shake(t, w.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate}), config)
	if s.Err == nil || !strings.Contains(s.Err.Error(), "didn't provide a certificate") {
		t.Errorf("server says %v", s.Err)
	}
	if err := hear(t, c); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("client hears %v", err)
	}
	for _, clients := range []ClientCertificates{NoClientCertificate, OptionalClientCertificate} {
		s, c = shake(t, w.serverConfig(t, ServerOptions{Clients: clients}), config)
		if s.must(t).Peer != nil || c.must(t).Peer == nil {
			t.Errorf("peers are %v and %v", s.Peer, c.Peer)
		}
	}
	// One that is not asked for is not believed either.
	s, _ = shake(t, w.serverConfig(t, ServerOptions{}), w.client.Client(ClientOptions{ServerName: serverName}))
	if s.must(t).Peer != nil {
		t.Errorf("peer is %v", s.Peer)
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		uris []string
		want string
	}{
		"none":         {nil, ""},
		"one":          {[]string{"spiffe://td/a/b"}, "spiffe://td/a/b"},
		"no path":      {[]string{"spiffe://td"}, "spiffe://td"},
		"two":          {[]string{"spiffe://td/a", "spiffe://td/b"}, ""},
		"other scheme": {[]string{"https://td/a"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client := w.ca.load(t, leaf{serial: 5, dns: []string{"a", "b"}, uris: test.uris})
			s, _ := shake(t, w.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate}), client.Client(ClientOptions{ServerName: serverName}))
			p := s.must(t).Peer
			if p.SPIFFE != test.want || !slices.Equal(p.URIs, test.uris) || !slices.Equal(p.DNSNames, []string{"a", "b"}) {
				t.Errorf("got %+v", p)
			}
		})
	}
	u := &url.URL{Scheme: "spiffe", Host: "td", Path: "/a"}
	for _, ca := range []bool{false, true} {
		chain := []*x509.Certificate{{URIs: []*url.URL{u}, IsCA: ca}}
		if got := identify(tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}); (got.SPIFFE != "") == ca {
			t.Errorf("CA: %v, SPIFFE ID is %q", ca, got.SPIFFE)
		}
	}
	if identify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}) != nil {
		t.Error("a certificate that was not verified is an identity")
	}
}
