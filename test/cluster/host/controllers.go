// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cgroupRoot is where a host with version 2 alone mounts its cgroups. Elsewhere it holds one mount for each hierarchy.
const cgroupRoot = "/sys/fs/cgroup"

// needed are the controllers without which a kubelet says that its cgroup doesn't exist.
func needed() []string { return []string{"cpu", "cpuset", "hugetlb", "memory", "pids"} }

// dormant returns the controllers that a version 2 root has, but doesn't hand to its children. Without version 2 there are
// none.
func dormant(root string) ([]string, error) {
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list cgroup controllers: %w", err)
	}
	enabled, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	if err != nil {
		return nil, fmt.Errorf("list cgroup controllers: %w", err)
	}
	on := strings.Fields(string(enabled))
	return slices.DeleteFunc(strings.Fields(string(available)), func(name string) bool { return slices.Contains(on, name) }), nil
}

// wake hands those of the controllers that a kubelet needs to the root's children.
func wake(root string, controllers []string) error {
	for _, name := range controllers {
		if !slices.Contains(needed(), name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("enable cgroup controller %s: %w", name, err)
		}
	}
	return nil
}

// rest takes the controllers back; one that another uses by now stays, and the kernel says so. A container runtime wakes
// also those that we did not.
func rest(root string, controllers []string) {
	for _, name := range controllers {
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("-"+name), 0o644)
	}
}
