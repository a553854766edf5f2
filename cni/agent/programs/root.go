// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// findRoot returns the control group that is above all pods of this node and
// none of another's, as a path below cgroups, the host's /sys/fs/cgroup. proc is
// the host's /proc.
func findRoot(proc, cgroups string) (string, error) {
	mount, err := unified(cgroups)
	if err != nil {
		return "", err
	}
	text, err := ownGroups(proc)
	if err != nil {
		return "", err
	}
	below, err := rootIn(string(text))
	if err != nil {
		return "", err
	}
	root := filepath.Join(mount, below)
	if _, err := os.Stat(root); err != nil {
		return "", fmt.Errorf("find the node's control group: %w (the host's /sys/fs/cgroup has to be mounted at %s)", err, cgroups)
	}
	return root, nil
}

// rootIn reads it out of the text of the agent's own /proc/PID/cgroup
// (cgroups(7)): what its kubelet puts all pods into is called kubepods, or with
// the systemd driver ends in kubepods.slice, below whatever root the kubelet was
// given. The last of that name counts: the node may itself be a container in a
// pod of another cluster's.
func rootIn(text string) (string, error) {
	for line := range strings.Lines(text) {
		own, is := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !is {
			continue
		}
		if strings.HasPrefix(own, "/..") { // cgroup_namespaces(7)
			return "", fmt.Errorf("find the node's control group: this process is in %q, above what the host's first process sees (--cgroup-root says which it is)", own)
		}
		for at := own; at != "/" && at != "."; at = path.Dir(at) {
			if name := path.Base(at); name == "kubepods" || strings.HasSuffix(name, "kubepods.slice") {
				return path.Dir(at), nil
			}
		}
		return "", fmt.Errorf("find the node's control group: this process is in %q, which is no pod's (--cgroup-root says which it is)", own)
	}
	return "", errors.New("find the node's control group: this process is in none of version 2")
}

// unified returns where control groups of version 2 are mounted: alone, or
// beside those of version 1.
func unified(cgroups string) (string, error) {
	for _, dir := range []string{cgroups, filepath.Join(cgroups, "unified")} {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find the node's control group: there are none of version 2 at %s, nor at %s", cgroups, filepath.Join(cgroups, "unified"))
}

// ownGroups returns the text of our /proc/self/cgroup as the host's first process
// would read it: a container sees itself at the top. Where the host hides that
// process, the node is a container, and as it sees itself has to do.
func ownGroups(proc string) ([]byte, error) {
	var text []byte
	read := func() (err error) {
		text, err = os.ReadFile("/proc/self/cgroup")
		return err
	}
	host, err := os.Open(filepath.Join(proc, "1", "ns", "cgroup"))
	if errors.Is(err, os.ErrPermission) {
		return text, read()
	}
	if err != nil {
		return nil, fmt.Errorf("find the node's control group: %w (the host's /proc has to be mounted)", err)
	}
	defer host.Close()
	err = inNamespace(host, read)
	return text, err
}

// inNamespace calls f on a thread in a control group namespace.
func inNamespace(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/cgroup")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own control group namespace: %w", err)
	}
	defer own.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWCGROUP); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the host's control group namespace: %w (CAP_SYS_ADMIN is needed)", err)
	}
	err = f()
	if errBack := unix.Setns(int(own.Fd()), unix.CLONE_NEWCGROUP); errBack != nil {
		return errors.Join(err, fmt.Errorf("come back from the host's control group namespace: %w", errBack)) // the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}
