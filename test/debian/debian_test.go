// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostFirst: a program that the host has is not downloaded.
func TestHostFirst(t *testing.T) {
	tools, err := Programs(t.Context(), t.TempDir(), []Program{{Name: "sh", Package: "dash"}}, func(text string) { t.Error(text) })
	if err != nil || !strings.HasSuffix(tools["sh"].Path, "/sh") || tools["sh"].Env != nil {
		t.Errorf("%+v, %v", tools, err)
	}
}

// TestCacheSecond: what is unpacked already is used, with its libraries.
func TestCacheSecond(t *testing.T) {
	dir := t.TempDir()
	p := Program{Name: "no-such-program", Package: "none", Path: "usr/bin/no-such-program"}
	for name, mode := range map[string]os.FileMode{p.Path: 0o755, "usr/lib/x86_64-linux-gnu/libx.so": 0o644} {
		path := filepath.Join(dir, "debian", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	tools, err := Programs(t.Context(), dir, []Program{p}, func(text string) { t.Error(text) })
	want := "LD_LIBRARY_PATH=" + filepath.Join(dir, "debian/usr/lib/x86_64-linux-gnu")
	if tool := tools[p.Name]; err != nil || tool.Path != filepath.Join(dir, "debian", p.Path) || len(tool.Env) != 1 || tool.Env[0] != want {
		t.Errorf("%+v, %v", tools, err)
	}
}
