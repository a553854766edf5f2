// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// inboundTLS is a proxy in front of an application that ends TLS.
func inboundTLS(t *testing.T, app netip.AddrPort, f transport.Files, mode proxy.TLSMode, clients transport.ClientCertificates) *sidecartest.Proxy {
	t.Helper()
	return sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: app}
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
	files := sidecartest.NewFiles(t)
	apps, counts := countingServers(t, 1)
	in := inboundTLS(t, apps[0], files, proxy.TLSPermissive, transport.NoClientCertificate)
	if err := callOver(t, in.Inbound, credentials.NewTLS(sidecartest.ClientTLS(t, files, false))); err != nil {
		t.Fatal(err)
	}
	if counts[0].Load() != 1 {
		t.Error("the call did not reach the application")
	}
	var metrics strings.Builder
	in.Options.Stats.WritePrometheus(&metrics)
	_, text, _ := strings.Cut(metrics.String(), "shunt_proxy_certificate_expires_timestamp_seconds ")
	text, _, _ = strings.Cut(text, "\n")
	expires, err := strconv.ParseFloat(text, 64)
	if left := time.Until(time.Unix(int64(expires), 0)); err != nil || left < 50*time.Minute || left > time.Hour {
		t.Errorf("the certificate is said to expire in %v, %v", left, err)
	}
}

func TestHTTP1OverTLS(t *testing.T) {
	files := sidecartest.NewFiles(t)
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	in := inboundTLS(t, app, files, proxy.TLSPermissive, transport.NoClientCertificate)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: sidecartest.ClientTLS(t, files, false),
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return to(in.Inbound)(ctx, "") },
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
	plain, err := clientTo(t, in.Inbound).Get("http://mesh.test/")
	if err != nil || plain.StatusCode != http.StatusOK {
		t.Errorf("plaintext is to be served beside TLS: %v", err)
	}
}

func TestStrictRefusesPlaintext(t *testing.T) {
	files := sidecartest.NewFiles(t)
	app := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	in := inboundTLS(t, app, files, proxy.TLSStrict, transport.NoClientCertificate)
	if res, err := clientTo(t, in.Inbound).Get("http://mesh.test/"); err == nil {
		t.Errorf("plaintext got %s", res.Status)
	}
}

// TestMutualTLS sends calls through two proxies that show each other who they
// are, over many endpoints of one name.
func TestMutualTLS(t *testing.T) {
	files := sidecartest.NewFiles(t)
	apps, counts := countingServers(t, 3)
	var endpoints []netip.AddrPort
	for _, app := range apps {
		endpoints = append(endpoints, inboundTLS(t, app, files, proxy.TLSStrict, transport.RequiredClientCertificate).Inbound)
	}
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: sidecartest.VIP()}
		o.Resolver = sidecartest.ServiceAt(endpoints...)
		o.TLS.Files, o.TLS.OutboundServerName = files, sidecartest.MeshName
	})
	client := grpcClient(t, to(out.Outbound))
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
	if err := callOver(t, endpoints[0], credentials.NewTLS(sidecartest.ClientTLS(t, files, false))); err == nil {
		t.Error("a client without a certificate was served")
	}
	if err := callOver(t, endpoints[0], credentials.NewTLS(sidecartest.ClientTLS(t, sidecartest.NewFiles(t), true))); err == nil {
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
	out := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin = sidecartest.Origin{Destination: sidecartest.VIP()}
		o.Resolver = sidecartest.ServiceAt(sidecartest.AddrOf(l))
		o.TLS.Files, o.TLS.OutboundServerName = sidecartest.NewFiles(t), sidecartest.MeshName
	})
	res, err := clientTo(t, out.Outbound).Get("http://mesh.test/")
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
