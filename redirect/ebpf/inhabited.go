// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/netns"
)

// namespaces are open network namespaces, by their inodes.
type namespaces map[uint32]namespace

type namespace struct{ file *os.File }

// do calls f inside it.
func (ns namespace) do(f func() error) error {
	return netns.In("/proc/self/fd/"+strconv.Itoa(int(ns.file.Fd())), f)
}

func (all namespaces) close() {
	for _, ns := range all {
		_ = ns.file.Close()
	}
}

// inhabited opens the namespaces of captured pods, by way of any process that is
// in one. A pod without a process has no connection that anybody uses; where none
// has one, this is not the /proc to look at.
func (n Node) inhabited() (namespaces, error) {
	captured, err := n.captured()
	if err != nil || len(captured) == 0 {
		return nil, err
	}
	proc := cmp.Or(n.Proc, "/proc")
	processes, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("look for pods' processes: %w", err)
	}
	found := namespaces{}
	var hidden error
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if err := found.add(filepath.Join(proc, p.Name(), "ns", "net"), captured); errors.Is(err, fs.ErrPermission) {
			hidden = err
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("look for pods' processes below %s: none of %d network namespaces has any (it must be the host's /proc, and CAP_SYS_PTRACE is needed): %w", proc, len(captured), cmp.Or(hidden, fs.ErrNotExist))
	}
	return found, nil
}

// add opens the namespace of a process, if it is one of the captured and not
// open yet. That of another process, which has come by the same PID meanwhile, is
// not taken for it.
func (all namespaces) add(path string, captured map[uint32]bool) error {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return err
	}
	inode := uint32(s.Ino)
	if _, is := all[inode]; is || !captured[inode] {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := unix.Fstat(int(file.Fd()), &s); err != nil || uint32(s.Ino) != inode {
		return errors.Join(err, file.Close())
	}
	all[inode] = namespace{file}
	return nil
}

// captured returns the inodes of pods' namespaces.
func (n Node) captured() (map[uint32]bool, error) {
	pods, err := os.ReadDir(n.layout().pods())
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	out := map[uint32]bool{}
	for _, p := range pods {
		inode, err := linkedInode(filepath.Join(n.layout().pods(), p.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if inode != 0 {
			out[inode] = true
		}
	}
	return out, nil
}
