// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/test/bench/certs"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

func rendered(t *testing.T, file string, a Ask) []string {
	t.Helper()
	listen := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1001"), netip.MustParseAddrPort("127.0.0.1:1002")}
	s := Setup{Dir: "/run/dir", Certs: certs.Files{CA: "CA", Cert: "CERT", Key: "KEY", Bundle: "BUNDLE"}}
	var out []string
	for _, h := range hops(a, listen, s) {
		text, err := render(file, h)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

// TestConfigurations: each proxy speaks the protocol, with TLS where it is asked
// for, to the backends or to the next proxy.
func TestConfigurations(t *testing.T) {
	backends := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2001"), netip.MustParseAddrPort("127.0.0.1:2002")}
	for _, tt := range []struct {
		file string
		p    scenario.Protocol
		tls  scenario.TLS
		want [][]string // by hop
	}{
		{"haproxy.cfg", scenario.GRPC, scenario.Plain, [][]string{{
			"nbthread 1", "mode http", "bind 127.0.0.1:1001 proto h2\n", "server s0 127.0.0.1:2001 proto h2\n", "server s1 127.0.0.1:2002 proto h2\n",
		}}},
		{"haproxy.cfg", scenario.HTTP1, scenario.Plain, [][]string{{"mode http", "bind 127.0.0.1:1001\n", "server s0 127.0.0.1:2001\n"}}},
		{"haproxy.cfg", scenario.TCP, scenario.Plain, [][]string{{"mode tcp", "option splice-auto", "server s0 127.0.0.1:2001\n"}}},
		{"haproxy.cfg", scenario.GRPC, scenario.Front, [][]string{{
			"ssl-min-ver TLSv1.3", "bind 127.0.0.1:1001 ssl crt BUNDLE alpn h2\n", "server s0 127.0.0.1:2001 proto h2\n",
		}}},
		{"haproxy.cfg", scenario.GRPC, scenario.Mesh, [][]string{
			{"bind 127.0.0.1:1001 ssl crt BUNDLE alpn h2 verify required ca-file CA\n", "server s0 127.0.0.1:2001 proto h2\n"},
			{"bind 127.0.0.1:1002 proto h2\n", "server s0 127.0.0.1:1001 ssl crt BUNDLE verify required ca-file CA alpn h2\n"},
		}},
		{"nginx.conf", scenario.GRPC, scenario.Plain, [][]string{{
			"worker_processes 1;", "listen 127.0.0.1:1001 http2;", "grpc_pass", "server 127.0.0.1:2002;", "pid /run/dir/nginx.pid;",
		}}},
		{"nginx.conf", scenario.HTTP1, scenario.Plain, [][]string{{"listen 127.0.0.1:1001;", "proxy_pass", `Connection ""`}}},
		{"nginx.conf", scenario.GRPC, scenario.Front, [][]string{{"listen 127.0.0.1:1001 ssl http2;", "ssl_certificate CERT;", "ssl_protocols TLSv1.3;"}}},
		{"envoy.yaml", scenario.GRPC, scenario.Plain, [][]string{{"port_value: 1001", "codec_type: HTTP2", " http2_protocol_options", "port_value: 2002"}}},
		{"envoy.yaml", scenario.HTTP1, scenario.Plain, [][]string{{"codec_type: HTTP1", " http_protocol_options"}}},
	} {
		got := rendered(t, tt.file, Ask{Protocol: tt.p, TLS: tt.tls, Backends: backends})
		if len(got) != len(tt.want) {
			t.Fatalf("%s %s: %d hops, want %d", tt.file, tt.p, len(got), len(tt.want))
		}
		for i, wants := range tt.want {
			for _, want := range wants {
				if !strings.Contains(got[i], want) {
					t.Errorf("%s, %s, hop %d lacks %q:\n%s", tt.file, tt.p, i, want, got[i])
				}
			}
		}
	}
}

// TestLargeBuffers: only where they are asked for.
func TestLargeBuffers(t *testing.T) {
	for file, setting := range map[string]string{"haproxy.cfg": "tune.bufsize 65536", "nginx.conf": "grpc_buffer_size 64k;"} {
		for _, large := range []bool{false, true} {
			got := rendered(t, file, Ask{Protocol: scenario.GRPC, largeBuffers: large})[0]
			if strings.Contains(got, setting) != large {
				t.Errorf("%s with large buffers %v:\n%s", file, large, got)
			}
		}
	}
}

func TestUnknownTarget(t *testing.T) {
	if _, err := (Setup{}).Start(t.Context(), "squid", Ask{}); err == nil || !strings.Contains(err.Error(), "no such target") {
		t.Errorf("Start: %v", err)
	}
}
