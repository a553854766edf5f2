// SPDX-License-Identifier: Apache-2.0

package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestTools holds that every tool comes from a module that pins it.
func TestTools(t *testing.T) {
	seen := map[string]bool{}
	for _, tool := range Tools() {
		if seen[tool.Name] {
			t.Errorf("two tools are named %s", tool.Name)
		}
		seen[tool.Name] = true
		text, err := os.ReadFile(filepath.Join("..", tool.Module, "go.mod"))
		if err != nil {
			t.Errorf("%s: %v", tool.Name, err)
		}
		if !strings.HasPrefix(tool.Package, ".") && !strings.Contains(string(text), tool.Package) {
			t.Errorf("%s: %s/go.mod doesn't name %s", tool.Name, tool.Module, tool.Package)
		}
		if strings.HasPrefix(tool.Package, "k8s.io/kubernetes") && !strings.Contains(string(text), "k8s.io/kubernetes "+KubernetesVersion+" ") {
			t.Errorf("%s says it is %s, but another version is pinned", tool.Name, KubernetesVersion)
		}
	}
}

func TestArguments(t *testing.T) {
	got := Tool{Name: "runc", Package: "example.org/runc", CGO: true, Tags: "seccomp", LDFlags: "-X a.b=c"}
	want := []string{
		"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X a.b=c", "-tags", "seccomp", "-o", "/out", "example.org/runc",
	}
	if diff := cmp.Diff(want, got.arguments("/out")); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if !slices.Contains(got.environment(), "CGO_ENABLED=1") {
		t.Errorf("runc is built without cgo: %v", got.environment())
	}
}

func TestFingerprint(t *testing.T) {
	tree := func() fstest.MapFS {
		return fstest.MapFS{
			"pause/main.go":   {Data: []byte("package main")},
			"tools/a/go.mod":  {Data: []byte("module a")},
			"tools/a/go.sum":  {Data: []byte("sum")},
			"tools/README.md": {Data: []byte("text")},
		}
	}
	hash := func(files fstest.MapFS, version string) string {
		t.Helper()
		h, err := fingerprint(files, version)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hash(tree(), "go1")
	changed, text := tree(), tree()
	changed["tools/a/go.sum"] = &fstest.MapFile{Data: []byte("another")}
	text["tools/README.md"] = &fstest.MapFile{Data: []byte("another")}
	if hash(text, "go1") != first {
		t.Error("a text decides what is built")
	}
	if hash(changed, "go1") == first || hash(tree(), "go2") == first {
		t.Error("another module or another Go makes the same binaries")
	}
}

func TestFindSource(t *testing.T) {
	root := t.TempDir()
	source := filepath.Join(root, "test", "cluster")
	module := filepath.Join(source, "tools", "kubernetes")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := FindSource(root); err == nil || !strings.Contains(err.Error(), "-source") {
		t.Errorf("without modules: %v, want a hint", err)
	}
	if err := os.WriteFile(filepath.Join(module, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{root, filepath.Join(root, "docs"), source, module} {
		if got, err := FindSource(from); err != nil || got != source {
			t.Errorf("from %s: %s, %v; want %s", from, got, err, source)
		}
	}
}
