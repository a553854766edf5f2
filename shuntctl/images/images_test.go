// SPDX-License-Identifier: Apache-2.0

package images_test

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

// newBinDir holds small static binaries under our names.
func newBinDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "proxy"), src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	body, err := os.ReadFile(filepath.Join(dir, "proxy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"redirect", "webhook", "discovery", "agent", "cni"} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPackHoldsBinariesAndIsReproducible(t *testing.T) {
	bin := newBinDir(t)
	spec := images.Product()[0]
	first, err := images.Pack(spec, bin)
	if err != nil {
		t.Fatal(err)
	}
	second, err := images.Pack(spec, bin)
	if err != nil {
		t.Fatal(err)
	}
	d1, _ := first.Digest()
	d2, _ := second.Digest()
	if d1 != d2 {
		t.Errorf("two packs of the same binaries differ: %s, %s", d1, d2)
	}
	config, err := first.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "1337:1337" || config.OS != "linux" || config.Config.Env[0] != "PATH=/usr/local/bin" {
		t.Errorf("config = %+v", config.Config)
	}
	want := []string{"etc", "etc/passwd", "etc/group", "tmp", "usr", "usr/local", "usr/local/bin", "usr/local/bin/proxy", "usr/local/bin/redirect"}
	var got []string
	r := tar.NewReader(mutate.Extract(first))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestSave(t *testing.T) {
	bin, out := newBinDir(t), t.TempDir()
	results, err := images.Save(images.Product(), bin, filepath.Join(out, "sub"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, r := range results {
		files = append(files, r.File)
	}
	want := []string{filepath.Join(out, "sub", "dataplane.tar"), filepath.Join(out, "sub", "controlplane.tar"), filepath.Join(out, "sub", "node.tar")}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := images.Save(images.Product(), bin, filepath.Join(out, "all.tar")); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(out, "all.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := images.Save(images.Product(), bin, filepath.Join(out, "all.tar")); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(out, "all.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two saves of the same binaries differ")
	}
	for _, spec := range images.Product() {
		tag, err := name.NewTag(spec.Ref(""))
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(filepath.Join(out, "all.tar"), &tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Errorf("image %s in the file: %v", tag, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(out, ".all.tar*"))
	if len(left) != 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	spec := images.Spec{Name: "x", Binaries: []string{"proxy"}}
	if _, err := images.Pack(spec, dir); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("missing binary: error %v, want a hint", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "proxy"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := images.Pack(spec, dir); err == nil || !strings.Contains(err.Error(), "ELF") {
		t.Errorf("shell script: error %v, want one that asks for ELF", err)
	}
}

func TestPush(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	to := images.Remote{Registry: strings.TrimPrefix(srv.URL, "http://") + "/mesh"}
	results, err := images.Push(t.Context(), images.Product(), newBinDir(t), to)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		digest, err := to.Head(t.Context(), r.Image)
		if err != nil {
			t.Fatal(err)
		}
		if digest != r.Digest {
			t.Errorf("%s has digest %s, pushed was %s", r.Image, digest, r.Digest)
		}
	}
	if _, err := to.Head(t.Context(), to.Registry+"/other:1"); err == nil {
		t.Error("an image that was never pushed is found")
	}
}

func TestRebase(t *testing.T) {
	tests := []struct{ ref, registry, want string }{
		{"shunt.dev/proxy:1", "", "shunt.dev/proxy:1"},
		{"shunt.dev/proxy:1", "r.example.com/mesh/", "r.example.com/mesh/proxy:1"},
		{"docker.io/other:1", "r.example.com", "docker.io/other:1"},
	}
	for _, tt := range tests {
		if got := images.Rebase(tt.ref, tt.registry); got != tt.want {
			t.Errorf("Rebase(%q, %q) = %q, want %q", tt.ref, tt.registry, got, tt.want)
		}
	}
}
