// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Confined is a control group with this process in it, and a bpffs: what a node
// is to programs that are attached to it. Both are nobody else's.
type Confined struct {
	Cgroup string // path of the group, of version 2
	BPFFS  string // where the file system is mounted

	home string // path of the group that the process came from
	dir  string
}

// Confine makes them and moves the process; its children follow. Leave undoes it.
func Confine() (*Confined, error) {
	home, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "shunt-bpffs-")
	if err != nil {
		return nil, err
	}
	c := &Confined{Cgroup: filepath.Join(home, fmt.Sprintf("shunt-test-%d", os.Getpid())), BPFFS: filepath.Join(dir, "bpf"), home: home, dir: dir}
	err = errors.Join(
		os.Mkdir(c.Cgroup, 0o755),
		os.Mkdir(c.BPFFS, 0o700),
	)
	if err == nil {
		err = unix.Mount("bpf", c.BPFFS, "bpf", 0, "mode=0700")
	}
	if err == nil {
		err = move(c.Cgroup)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("confine process: %w", err), c.Leave())
	}
	return c, nil
}

// Leave moves the process back, and takes the group and the file system away.
// What was pinned ends with it.
func (c *Confined) Leave() error {
	err := move(c.home)
	if errUnmount := unix.Unmount(c.BPFFS, unix.MNT_DETACH); !errors.Is(errUnmount, unix.EINVAL) && !errors.Is(errUnmount, unix.ENOENT) {
		err = errors.Join(err, errUnmount)
	}
	// A child that has ended a moment ago may still be in it.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		errRemove := os.Remove(c.Cgroup)
		if errors.Is(errRemove, unix.EBUSY) && time.Now().Before(deadline) {
			continue
		}
		if !errors.Is(errRemove, os.ErrNotExist) {
			err = errors.Join(err, errRemove)
		}
		return errors.Join(err, os.RemoveAll(c.dir))
	}
}

// move puts the process into a group.
func move(cgroup string) error {
	return os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644)
}

// ownCgroup returns the path of this process's group of version 2.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		below, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} { // alone, or beside version 1
			var s unix.Statfs_t
			if unix.Statfs(root, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
				return filepath.Join(root, below), nil
			}
		}
	}
	return "", errors.New("find control group: none of version 2 is mounted")
}
