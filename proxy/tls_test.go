// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// meshName is what all certificates of these tests are for.
const meshName = "mesh.test"

// newFiles writes a CA and a certificate of it for servers and clients.
func newFiles(t *testing.T) transport.Files {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return key
	}
	caKey, leafKey := newKey(), newKey()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{meshName},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, &leafKey.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(err)
	return transport.Files{
		Certificate: write("leaf.pem", "CERTIFICATE", leafDER),
		Key:         write("leaf.key", "EC PRIVATE KEY", keyDER),
		CA:          write("ca.pem", "CERTIFICATE", caDER),
	}
}

// clientTLS is for a client that trusts the CA, with a certificate or without.
func clientTLS(t *testing.T, f transport.Files, shows bool) *tls.Config {
	t.Helper()
	pemCA, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{ServerName: meshName, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pemCA)
	if shows {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// inboundTLS is a proxy in front of an application that ends TLS.
func inboundTLS(t *testing.T, app netip.AddrPort, f transport.Files, mode proxy.TLSMode, clients transport.ClientCertificates) *running {
	t.Helper()
	return start(t, func(o *proxy.Options) {
		o.Origin = fixed{app}
		o.TLS = proxy.TLS{Files: f, Inbound: mode, Clients: clients}
	})
}

func callOver(t *testing.T, addr netip.AddrPort, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///mesh", grpc.WithContextDialer(to(addr)), grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), &testgrpc.Empty{})
	return err
}

func TestTLSIsEndedInbound(t *testing.T) {
	files := newFiles(t)
	apps, counts := countingServers(t, 1)
	in := inboundTLS(t, apps[0], files, proxy.TLSPermissive, transport.NoClientCertificate)
	if err := callOver(t, in.inbound, credentials.NewTLS(clientTLS(t, files, false))); err != nil {
		t.Fatal(err)
	}
	if counts[0].Load() != 1 {
		t.Error("the call did not reach the application")
	}
	var metrics strings.Builder
	in.options.Stats.WritePrometheus(&metrics)
	_, text, _ := strings.Cut(metrics.String(), "shunt_proxy_certificate_expires_timestamp_seconds ")
	text, _, _ = strings.Cut(text, "\n")
	expires, err := strconv.ParseFloat(text, 64)
	if left := time.Until(time.Unix(int64(expires), 0)); err != nil || left < 50*time.Minute || left > time.Hour {
		t.Errorf("the certificate is said to expire in %v, %v", left, err)
	}
}

func TestHTTP1OverTLS(t *testing.T) {
	files := newFiles(t)
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	in := inboundTLS(t, app, files, proxy.TLSPermissive, transport.NoClientCertificate)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: clientTLS(t, files, false),
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return to(in.inbound)(ctx, "") },
	}}
	defer client.CloseIdleConnections()
	for range 3 {
		res, err := client.Post("https://mesh.test/", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != body {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
	}
	plain, err := clientTo(t, in.inbound).Get("http://mesh.test/")
	if err != nil || plain.StatusCode != http.StatusOK {
		t.Errorf("plaintext is to be served beside TLS: %v", err)
	}
}

func TestStrictRefusesPlaintext(t *testing.T) {
	files := newFiles(t)
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	in := inboundTLS(t, app, files, proxy.TLSStrict, transport.NoClientCertificate)
	if res, err := clientTo(t, in.inbound).Get("http://mesh.test/"); err == nil {
		t.Errorf("plaintext got %s", res.Status)
	}
}

// TestMutualTLS sends calls through two proxies that show each other who they
// are, over many endpoints of one name.
func TestMutualTLS(t *testing.T) {
	files := newFiles(t)
	apps, counts := countingServers(t, 3)
	var endpoints []netip.AddrPort
	for _, app := range apps {
		endpoints = append(endpoints, inboundTLS(t, app, files, proxy.TLSStrict, transport.RequiredClientCertificate).inbound)
	}
	out := start(t, func(o *proxy.Options) {
		o.Origin = fixed{vip}
		o.Resolver = serviceAt(endpoints...)
		o.TLS.Files, o.TLS.OutboundServerName = files, meshName
	})
	client := grpcClient(t, to(out.outbound))
	for range 30 {
		if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range counts {
		if n := counts[i].Load(); n != 10 {
			t.Errorf("endpoint %d got %d of 30 calls", i, n)
		}
	}
	if err := callOver(t, endpoints[0], credentials.NewTLS(clientTLS(t, files, false))); err == nil {
		t.Error("a client without a certificate was served")
	}
	if err := callOver(t, endpoints[0], credentials.NewTLS(clientTLS(t, newFiles(t), true))); err == nil {
		t.Error("a client of another CA was served")
	}
}

// TestNoHandshakeSaysWhy: an endpoint that does not speak TLS.
func TestNoHandshakeSaysWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1024)) // who spoke first would be relayed
			io.WriteString(c, "220 no TLS here\r\n")
			c.Close()
		}
	}()
	out := start(t, func(o *proxy.Options) {
		o.Origin = fixed{vip}
		o.Resolver = serviceAt(addrOf(l))
		o.TLS.Files, o.TLS.OutboundServerName = newFiles(t), meshName
	})
	res, err := clientTo(t, out.outbound).Get("http://mesh.test/")
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v, %v", res, err)
	}
}

func TestTLSOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*proxy.Options){
		"inbound-tls": func(o *proxy.Options) { o.TLS.Inbound = "sometimes" },
		"certificate": func(o *proxy.Options) { o.TLS.Inbound = proxy.TLSStrict },
		"missing.pem": func(o *proxy.Options) {
			o.TLS.Inbound = proxy.TLSStrict
			o.TLS.Files.Certificate, o.TLS.Files.Key = "missing.pem", "missing.key"
		},
	} {
		o := proxy.DefaultOptions()
		change(&o)
		if err := proxy.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
