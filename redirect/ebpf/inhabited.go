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

// namespaces are open network namespaces, by their cookies.
type namespaces map[uint64]namespace

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

// inhabited opens the namespaces of captured pods, each by way of any process that
// is in it. One that is not captured any more is left out; one without a process
// that could be found is an error.
func (n Node) inhabited(cookies []uint64) (found namespaces, err error) {
	wanted, err := n.captured(cookies)
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	proc := cmp.Or(n.Proc, "/proc")
	processes, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("look for pods' processes: %w", err)
	}
	found = namespaces{}
	var hidden error
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if err := found.add(filepath.Join(proc, p.Name(), "ns", "net"), wanted); errors.Is(err, fs.ErrPermission) {
			hidden = err
		}
	}
	if len(wanted) > 0 {
		found.close()
		return nil, fmt.Errorf("look for pods' processes below %s: %d network namespaces have none (it must be the host's /proc, and CAP_SYS_PTRACE is needed): %w", proc, len(wanted), cmp.Or(hidden, fs.ErrNotExist))
	}
	return found, nil
}

// add opens the namespace of a process, if it is wanted, and wants it no more.
// That of another process, which has come by the same PID meanwhile, is not taken
// for it.
func (all namespaces) add(path string, wanted map[uint64]uint64) error {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return err
	}
	cookie, is := wanted[s.Ino]
	if !is {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	inode := s.Ino
	if err := unix.Fstat(int(file.Fd()), &s); err != nil || s.Ino != inode {
		return errors.Join(err, file.Close())
	}
	all[cookie] = namespace{file}
	delete(wanted, inode)
	return nil
}

// captured returns the cookies of those that are captured, by their inodes.
func (n Node) captured(cookies []uint64) (map[uint64]uint64, error) {
	out := map[uint64]uint64{}
	for _, cookie := range cookies {
		inode, err := linkedInode(n.layout().pod(cookie))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if inode != 0 {
			out[uint64(inode)] = cookie
		}
	}
	return out, nil
}
