// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	hybrid = `24 23 0:21 / /sys rw,relatime - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 30 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	pure = `30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
`
)

func TestHierarchies(t *testing.T) {
	for name, c := range map[string]struct {
		mountinfo string
		want      []string
	}{
		"hybrid":    {hybrid, []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/unified"}},
		"version 2": {pure, []string{"/sys/fs/cgroup"}},
		"twice":     {pure + pure, []string{"/sys/fs/cgroup"}},
		"none":      {"", nil},
	} {
		got, err := Hierarchies(strings.NewReader(c.mountinfo))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := Hierarchies(strings.NewReader("no mount\n")); err == nil {
		t.Error("a line that is no mount was read")
	}
}

func FuzzHierarchies(f *testing.F) {
	f.Add(hybrid)
	f.Add(pure)
	f.Fuzz(func(t *testing.T, mountinfo string) {
		points, err := Hierarchies(strings.NewReader(mountinfo))
		for _, point := range points {
			if err == nil && !strings.Contains(mountinfo, point) {
				t.Errorf("%q is in no line", point)
			}
		}
	})
}

// TestMake makes a cgroup in a version 1 cpuset, whose children are born without processors.
func TestMake(t *testing.T) {
	point := t.TempDir()
	top := filepath.Join(point, "shunt-cp")
	child := filepath.Join(top, "daemons")
	if err := os.MkdirAll(child, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, value := range map[string]string{point: "0-3\n", top: "\n", child: "\n"} {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	join, err := Make([]string{point}, "/shunt-cp")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(child, "cgroup.procs")}, join); diff != "" {
		t.Errorf("files to join (-want +got):\n%s", diff)
	}
	got, err := os.ReadFile(filepath.Join(child, "cpuset.cpus"))
	if err != nil || string(got) != "0-3\n" {
		t.Errorf("processors of the child: %q, %v; want the parent's", got, err)
	}
	found, err := Find([]string{point})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{top}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestProcesses(t *testing.T) {
	top := t.TempDir()
	if err := os.WriteFile(filepath.Join(top, "cgroup.procs"), []byte("12\n7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Processes(top)
	if diff := cmp.Diff([]int{12, 7}, got); err != nil || diff != "" {
		t.Errorf("processes: %v (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(top, "cgroup.procs"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Processes(top); err == nil {
		t.Error("process 0 was taken for a process; killing it would kill this one")
	}
	if got, err := Processes(filepath.Join(top, "missing")); err != nil || len(got) > 0 {
		t.Errorf("a missing cgroup: %v, %v", got, err)
	}
}
