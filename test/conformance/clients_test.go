// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
	"github.com/shuntmesh/shunt/test/debian"
)

// patience bounds every request of every client.
const patience = 30 * time.Second

// target is where a client connects to, and what it is to speak there.
type target struct {
	address netip.AddrPort
	secure  bool            // TLS
	files   transport.Files // what to trust
}

func (a target) url(path string) string {
	scheme := "http"
	if a.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%v%s", scheme, a.address, path)
}

// request is what is sent, n times at once where a client can, on as few
// connections as the client sees fit.
type request struct {
	path string
	body []byte // nil: GET; else POST
	n    int
}

// client is a program, or a way to use one.
type client struct {
	name     string
	protocol stats.Kind // HTTP1 or HTTP2
	// do returns the bodies of the answers, one behind the other; those of requests
	// under way at once may be interleaved.
	do func(t *testing.T, a target, r request) []byte
}

func clients(tools map[string]debian.Tool) []client {
	curl, nghttp := tools["curl"], tools["nghttp"]
	return []client{
		{"curl", stats.HTTP1, withCurl(curl, "--http1.1", "--parallel", "--no-progress-meter")},
		{"curl, one connection", stats.HTTP1, withCurl(curl, "--http1.1")},
		{"curl, HTTP-2", stats.HTTP2, withNewCurls(curl, "--http2-prior-knowledge")},
		{"nghttp", stats.HTTP2, withNghttp(nghttp)},
		{"nghttp, padding, CONTINUATION, table of other sizes, small windows, trailers, no length", stats.HTTP2, withNghttp(nghttp,
			"--padding=255", "--continuation", "-c", "4096", "-c", "100", "-w", "12", "-W", "16", "--trailer=x-sum: 7", "--no-content-length")},
		{"nghttp, asking first", stats.HTTP2, withNghttp(nghttp, "--expect-continue")},
		{"net-http", stats.HTTP1, withNetHTTP(stats.HTTP1)},
		{"net-http, HTTP-2", stats.HTTP2, withNetHTTP(stats.HTTP2)},
	}
}

// withCurl asks for n URLs, one behind the other unless --parallel says otherwise.
func withCurl(tool debian.Tool, flags ...string) func(*testing.T, target, request) []byte {
	return func(t *testing.T, a target, r request) []byte {
		t.Helper()
		dir := t.TempDir()
		args := append([]string{
			"--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert", a.files.CA, "--output", filepath.Join(dir, "#1"),
		}, flags...)
		if r.body != nil {
			args = append(args, "--data-binary", "@"+write(t, dir, "sent", r.body), "-H", "Content-Type: application/octet-stream")
		}
		run(t, tool, append(args, a.url(r.path)+"?[1-"+strconv.Itoa(r.n)+"]")...)
		var all []byte
		for i := range r.n {
			one, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i+1)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, one...)
		}
		return all
	}
}

// withNewCurls has a curl for each request: with --http2-prior-knowledge curl 7.88
// can't use a connection twice, whoever it talks to.
func withNewCurls(tool debian.Tool, flags ...string) func(*testing.T, target, request) []byte {
	one := withCurl(tool, flags...)
	return func(t *testing.T, a target, r request) (all []byte) {
		t.Helper()
		for range r.n {
			all = append(all, one(t, a, request{r.path, r.body, 1})...)
		}
		return all
	}
}

// withNghttp asks over one connection. Its status is 0 whatever the answer is,
// but an answer of another status than 200 has another body too.
func withNghttp(tool debian.Tool, flags ...string) func(*testing.T, target, request) []byte {
	return func(t *testing.T, a target, r request) []byte {
		t.Helper()
		args := append([]string{"--multiply=" + strconv.Itoa(r.n)}, flags...)
		if r.body != nil {
			args = append(args, "--data="+write(t, t.TempDir(), "sent", r.body))
		}
		return run(t, tool, append(args, a.url(r.path))...)
	}
}

func withNetHTTP(protocol stats.Kind) func(*testing.T, target, request) []byte {
	return func(t *testing.T, a target, r request) []byte {
		t.Helper()
		c := netHTTP(t, protocol, a)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		bodies, errs := make([][]byte, r.n), make(chan error, r.n)
		for i := range r.n {
			go func() {
				var err error
				bodies[i], err = ask(ctx, c, a.url(r.path), r.body)
				errs <- err
			}()
		}
		for range r.n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		return bytes.Join(bodies, nil)
	}
}

// netHTTP is net/http's client in one protocol.
func netHTTP(t *testing.T, protocol stats.Kind, a target) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(protocol == stats.HTTP1)
	protocols.SetHTTP2(protocol == stats.HTTP2 && a.secure)
	protocols.SetUnencryptedHTTP2(protocol == stats.HTTP2 && !a.secure)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true, TLSClientConfig: sidecartest.ClientTLS(t, a.files, false)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func ask(ctx context.Context, c *http.Client, url string, body []byte) ([]byte, error) {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %s", url, res.Status)
	}
	return io.ReadAll(res.Body)
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run returns what a program prints on its standard output.
func run(t *testing.T, tool debian.Tool, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool.Path, args...)
	cmd.Env = append(os.Environ(), tool.Env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", tool.Path, strings.Join(args, " "), err, stderr.String())
	}
	return out
}
