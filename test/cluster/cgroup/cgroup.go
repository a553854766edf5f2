// SPDX-License-Identifier: Apache-2.0

// Package cgroup makes a machine's cgroup in every hierarchy of the host, be they version 1, version 2 or both side by side,
// and removes it with every process in it. It touches only cgroups whose names are the cluster's.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Hierarchies returns the mount points of all cgroup hierarchies, read from a mountinfo file (proc(5)).
func Hierarchies(mountinfo io.Reader) ([]string, error) {
	var points []string
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(kind) < 1 {
			return nil, fmt.Errorf("read a line of mountinfo %q: no mount", lines.Text())
		}
		if (kind[0] == "cgroup" || kind[0] == "cgroup2") && !slices.Contains(points, fields[4]) {
			points = append(points, fields[4])
		}
	}
	return points, lines.Err()
}

// Host returns the hierarchies of this host.
func Host() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	points, err := Hierarchies(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	if len(points) == 0 {
		return nil, errors.New("find the cgroup hierarchies: none is mounted (mount cgroup2 at /sys/fs/cgroup)")
	}
	return points, nil
}

// Make makes the cgroup, and its child for daemons, in every hierarchy. It returns the files to which a daemon writes 0 to
// join.
func Make(hierarchies []string, name string) (join []string, err error) {
	for _, point := range hierarchies {
		for _, dir := range []string{filepath.Join(point, name), filepath.Join(point, name, layout.Daemons)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, fmt.Errorf("make a cgroup: %w", err)
			}
			if err := fillCPUSet(dir); err != nil {
				return nil, fmt.Errorf("make a cgroup: %w", err)
			}
		}
		join = append(join, filepath.Join(point, name, layout.Daemons, "cgroup.procs"))
	}
	return join, nil
}

// fillCPUSet copies the parent's processors and memory nodes: in version 1 an empty cpuset takes no process.
func fillCPUSet(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) || len(strings.TrimSpace(string(value))) > 0 {
			continue
		}
		if _, v2 := os.Stat(filepath.Join(dir, "cgroup.controllers")); v2 == nil {
			return nil // in version 2 empty means: as the parent
		}
		parent, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), parent, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the directories of the cluster's cgroups, the top one of each machine in each hierarchy.
func Find(hierarchies []string) ([]string, error) {
	var dirs []string
	for _, point := range hierarchies {
		entries, err := os.ReadDir(point)
		if err != nil {
			return nil, fmt.Errorf("look for cgroups: %w", err)
		}
		for _, entry := range entries {
			if entry.IsDir() && layout.Ours(entry.Name()) {
				dirs = append(dirs, filepath.Join(point, entry.Name()))
			}
		}
	}
	return dirs, nil
}

// Remove kills every process in the cgroups and removes them, from the leaves up.
func Remove(ctx context.Context, dirs []string) error {
	var last error
	for ctx.Err() == nil {
		last = nil
		for _, dir := range dirs {
			last = errors.Join(last, kill(dir), removeTree(dir))
		}
		if last == nil {
			return nil
		}
		// The kernel takes a moment to bury a killed process.
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("remove cgroups: %w: %w", context.Cause(ctx), last)
}

func kill(top string) error {
	pids, err := Processes(top)
	for _, pid := range pids {
		if e := syscall.Kill(pid, syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill process %d: %w", pid, e))
		}
	}
	return err
}

// Processes returns the processes in a cgroup and all beneath it.
func Processes(top string) ([]int, error) {
	var pids []int
	err := walk(top, func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if gone(err) {
			return nil
		}
		for _, field := range strings.Fields(string(text)) {
			pid, e := strconv.Atoi(field)
			if e != nil || pid <= 0 {
				// 0 stands for a process that another PID namespace hides; it can't be one of ours.
				return fmt.Errorf("read %s: %q is no process", dir, field)
			}
			pids = append(pids, pid)
		}
		return err
	})
	return pids, err
}

func removeTree(top string) error {
	var dirs []string
	if err := walk(top, func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
		return err
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := syscall.Rmdir(dir); err != nil && !gone(err) {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return nil
}

// walk calls visit for top and all directories beneath, parents first. What vanishes meanwhile is no error.
func walk(top string, visit func(dir string) error) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if gone(err) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		return visit(path)
	})
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// Paths returns where a cgroup is, or would be, in each hierarchy.
func Paths(hierarchies []string, name string) []string {
	var dirs []string
	for _, point := range hierarchies {
		dirs = append(dirs, filepath.Join(point, name))
	}
	return dirs
}
