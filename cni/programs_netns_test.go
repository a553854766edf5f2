// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cni_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// bpffs returns where eBPF programs are pinned, as a node's agent has loaded them.
// They are attached to an empty control group: nothing here is steered.
func bpffs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil { // what is pinned ends with it
			t.Error(err)
		}
	})
	hierarchy := "/sys/fs/cgroup/unified" // beside version 1
	if _, err := os.Stat(hierarchy); err != nil {
		hierarchy = "/sys/fs/cgroup"
	}
	group := filepath.Join(hierarchy, fmt.Sprintf("shunt-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	if _, err := (ebpf.Node{BPFFS: dir, CgroupRoot: group}).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir
}
