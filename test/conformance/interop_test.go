// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/test/debian"
)

// programs are the clients and servers that others wrote. Each is of the
// version that the suite was written with.
func programs(t *testing.T) map[string]debian.Tool {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("find the cache directory: %v (set XDG_CACHE_HOME)", err)
	}
	tools, err := debian.Programs(t.Context(), filepath.Join(base, "shunt-conformance"), []debian.Program{
		{Name: "curl", Package: "curl", Version: "7.88.1-10+deb12u14", Path: "usr/bin/curl"},
		{Name: "nghttp", Package: "nghttp2-client", Version: "1.52.0-1+deb12u3", Path: "usr/bin/nghttp"},
		{Name: "nghttpd", Package: "nghttp2-server", Version: "1.52.0-1+deb12u3", Path: "usr/sbin/nghttpd"},
	}, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

// arrangement is who speaks TLS between client and server.
type arrangement struct {
	name                          string
	secureClient, secureServer    bool
	readByOutbound, readByInbound bool // who sees HTTP in it
	out, in                       func(transport.Files) proxy.TLS
}

func arrangements() []arrangement {
	off := func(transport.Files) proxy.TLS { return proxy.TLS{Inbound: proxy.TLSOff} }
	ends := func(f transport.Files) proxy.TLS { return proxy.TLS{Files: f, Inbound: proxy.TLSPermissive} }
	speaks := func(f transport.Files) proxy.TLS {
		return proxy.TLS{Files: f, Inbound: proxy.TLSOff, OutboundServerName: sidecartest.MeshName}
	}
	asks := func(f transport.Files) proxy.TLS {
		return proxy.TLS{Files: f, Inbound: proxy.TLSStrict, Clients: transport.RequiredClientCertificate}
	}
	return []arrangement{
		{"plaintext", false, false, true, true, off, off},
		{"TLS passed through", true, true, false, false, off, off},
		{"TLS ended by the server's sidecar", true, false, false, true, off, ends},
		{"mutual TLS between the sidecars", false, false, true, true, speaks, asks},
	}
}

// TestInterop has programs that know nothing of one another talk through two
// sidecars, in every arrangement of TLS.
func TestInterop(t *testing.T) {
	tools := programs(t)
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, 300_007)
	_, _ = random.Read(content) // never fails
	passed := 0
	for _, a := range arrangements() {
		for _, s := range servers(tools) {
			if s.unusual && !a.readByInbound {
				continue // what is relayed unread is between client and server
			}
			t.Run(a.name+"/"+s.name, func(t *testing.T) {
				files := sidecartest.NewFiles(t)
				app := s.start(t, content, a.secureServer, files)
				out, in := sidecartest.Chain(t, app,
					func(o *proxy.Options) { o.TLS = a.out(files) },
					func(o *proxy.Options) { o.TLS = a.in(files) })
				at := target{address: out.Outbound, secure: a.secureClient, files: files}
				for _, c := range clients(tools) {
					if s.speaks(c.protocol) && t.Run(c.name, func(t *testing.T) { converse(t, c, at, content, a, out, in) }) {
						passed++
					}
				}
			})
		}
	}
	fmt.Printf("FIGURE conformance.interop.passed %d pairs\n", passed)
}

// atOnce is how many requests are under way together.
const atOnce = 20

// converse gets and posts, alone and at once, and then asks the sidecars whether
// they took it for what it was.
func converse(t *testing.T, c client, at target, content []byte, a arrangement, out, in *sidecartest.Proxy) {
	before := [2]tally{tallyOf(t, out, stats.Outbound), tallyOf(t, in, stats.Inbound)}
	requests := 0
	for _, tt := range []struct {
		name string
		request
	}{
		{"get", request{filePath, nil, 1}},
		{"get at once", request{filePath, nil, atOnce}},
		{"post a byte", request{"/echo", []byte("x"), 1}},
		{"post", request{"/echo", content, 1}},
		{"post at once", request{"/echo", content[:70_001], atOnce}},
	} {
		want := tt.body
		if want == nil {
			want = content
		}
		compare(t, tt.name, c.do(t, at, tt.request), want, tt.n)
		requests += tt.n
	}
	for i, read := range []bool{a.readByOutbound, a.readByInbound} {
		p, direction := out, stats.Outbound
		if i == 1 {
			p, direction = in, stats.Inbound
		}
		got := tallyOf(t, p, direction).less(before[i])
		if read && (len(got.ok) != 1 || got.ok[c.protocol] != requests || got.other > 0 || len(got.errors) > 0) {
			t.Errorf("%s counted %+v, want %d requests of %s", direction, got, requests, c.protocol)
		} else if !read && (got.relayed == 0 || len(got.ok) > 0) {
			t.Errorf("%s counted %+v, want relayed connections alone", direction, got)
		}
	}
}

// compare wants n times the same body. Those of requests at once may have come
// interleaved; then their length and the sum of their bytes tell.
func compare(t *testing.T, name string, got, want []byte, n int) {
	t.Helper()
	if n == 1 && !bytes.Equal(got, want) || len(got) != n*len(want) || sum(got) != n*sum(want) {
		t.Errorf("%s: %d bytes came back that sum up to %d, want %d and %d", name, len(got), sum(got), n*len(want), n*sum(want))
	}
}

func sum(p []byte) (s int) {
	for _, b := range p {
		s += int(b)
	}
	return s
}
