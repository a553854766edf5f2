// SPDX-License-Identifier: Apache-2.0

package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostWithoutIPTables(t *testing.T) {
	root := t.TempDir()
	if _, err := hostIPTables(root); err == nil || !strings.Contains(err.Error(), "install iptables") {
		t.Errorf("empty host: %v, want a hint", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/xtables-nft-multi"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := hostIPTables(root); err == nil || !strings.Contains(err.Error(), "ELF") {
		t.Errorf("a script for a program: %v, want one that asks for ELF", err)
	}
}

func TestParents(t *testing.T) {
	var got []string
	for _, f := range parents([]file{{path: "usr/lib/x/a.so"}, {path: "usr/lib/b.so"}, {path: "c"}}) {
		got = append(got, f.path)
	}
	if diff := cmp.Diff([]string{"usr/lib/x/", "usr/lib/", "usr/"}, got); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
}
