// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRestore takes back what was made, and leaves what others use by then.
func TestRestore(t *testing.T) {
	root := t.TempDir()
	mine, used := filepath.Join(root, "a", "b"), filepath.Join(root, "used")
	dirs := append(absent(mine), absent(used)...)
	if diff := cmp.Diff([]string{filepath.Join(root, "a"), mine, used}, dirs); diff != "" {
		t.Fatalf("directories to make (-want +got):\n%s", diff)
	}
	record := filepath.Join(root, "record.json")
	if err := (Record{Dirs: dirs}).Apply(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(used, "theirs")
	if err := os.WriteFile(theirs, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is no record, and nothing to do
		if err := Restore(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	if left := absent(mine); len(left) != 2 {
		t.Errorf("directories are left: only %v are gone", left)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("another's file: %v", err)
	}
}

func TestMounts(t *testing.T) {
	points, err := Mounts("/proc")
	if err != nil || len(points) == 0 || points[0] != "/proc" {
		t.Errorf("Mounts(/proc) = %v, %v", points, err)
	}
}

func TestControllers(t *testing.T) {
	root := t.TempDir()
	if got, err := dormant(root); err != nil || got != nil {
		t.Errorf("without version 2: %v, %v; want none", got, err)
	}
	for name, text := range map[string]string{"cgroup.controllers": "cpuset cpu io memory\n", "cgroup.subtree_control": "cpu memory\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dormant(root)
	if diff := cmp.Diff([]string{"cpuset", "io"}, got); err != nil || diff != "" {
		t.Errorf("dormant: %v (-want +got):\n%s", err, diff)
	}
	// The last write stays in a plain file: io is not needed, so it is not woken.
	if err := wake(root, got); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); err != nil || string(text) != "+cpuset" {
		t.Errorf("woke %q, %v; want +cpuset", text, err)
	}
}
