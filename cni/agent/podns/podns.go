// SPDX-License-Identifier: Apache-2.0

// Package podns finds the network namespaces of pods by way of their processes:
// a cgroup names its pod, and no two pods share one. It reads the /proc of the
// host, which needs CAP_SYS_PTRACE for processes of other users, and asks no
// container runtime.
//
// Of all processes of a pod the oldest that is not in a namespace of the host's
// counts. It is the sandbox's own, or where the runtime does without one the
// first container's: whatever has entered another namespace since was started
// by it. A runtime's monitor may be older, and stays in the host's.
package podns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process holds a namespace.
type Process struct {
	PID     int
	Started uint64 // clock ticks since boot; with PID it is like no other process
	Net     string // the namespace, such as "net:[4026532177]"; the number is used again when it is gone
}

// ErrGone says that the process has ended, or is no longer the pod's.
var ErrGone = errors.New("the process that held the network namespace has ended")

// Finder reads one /proc. It is not safe for concurrent use, but for Open.
type Finder struct {
	proc  string
	hosts map[string]bool // namespaces that are never a pod's
	buf   []byte
}

// New returns a finder over the /proc of the host at path. The namespaces of
// the caller and of the host's first process are taken for the host's. Where the
// node is itself a container, its host may hide that process; then the caller's
// is the node's, and enough.
func New(proc string) (*Finder, error) {
	f := &Finder{proc: proc, hosts: map[string]bool{}, buf: make([]byte, 4<<10)}
	for _, path := range []string{"/proc/self/ns/net", f.path(1, "ns/net")} {
		ns, err := os.Readlink(path)
		switch {
		case err == nil:
			f.hosts[ns] = true
		case !errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("find the network namespace of the host: %w (the host's /proc has to be mounted)", err)
		}
	}
	return f, nil
}

// Find looks at all processes once, and returns for each wanted pod the one
// that holds its namespace. A pod without one is left out: its sandbox is not
// there yet, or no more. An error comes with what was found all the same.
func (f *Finder) Find(wanted func(uid string) bool) (map[string]Process, error) {
	pids, err := f.pids()
	if err != nil {
		return nil, err
	}
	found := map[string]Process{}
	var hidden error
	for _, pid := range pids {
		uid := ParseCgroup(f.read(pid, "cgroup"))
		if uid == "" || !wanted(uid) {
			continue
		}
		p, err := f.process(pid)
		if errors.Is(err, fs.ErrPermission) {
			hidden = fmt.Errorf("look into pod %s: %w (CAP_SYS_PTRACE is needed, and no AppArmor profile that keeps processes apart)", uid, err)
		}
		if err != nil || f.hosts[p.Net] {
			continue // it has ended, or it is the host's
		}
		if best, is := found[uid]; !is || older(p, best) {
			found[uid] = p
		}
	}
	return found, hidden
}

func older(p, than Process) bool {
	return p.Started < than.Started || p.Started == than.Started && p.PID < than.PID
}

// Holds says whether p still is there, in the same namespace. It is cheap, one
// system call, and takes a process for p that has come by both p's PID and the
// number of its namespace; Open does not.
func (f *Finder) Holds(p Process) bool {
	n, err := unix.Readlink(f.path(p.PID, "ns/net"), f.buf)
	return err == nil && string(f.buf[:n]) == p.Net
}

// Open returns the pod's namespace as a file that stays this namespace. It is
// an error that wraps ErrGone where p is no longer the pod's process: looked at
// after the namespace is open, so that nobody can take its place in between.
func (f *Finder) Open(uid string, p Process) (*os.File, error) {
	g := Finder{proc: f.proc, buf: make([]byte, 4<<10)}
	ns, err := os.Open(g.path(p.PID, "ns/net"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("open network namespace of process %d: %w", p.PID, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process %d: %w", p.PID, err)
	}
	now, err := g.process(p.PID)
	if err != nil || now != p || f.hosts[p.Net] || ParseCgroup(g.read(p.PID, "cgroup")) != uid {
		return nil, errors.Join(fmt.Errorf("open network namespace of process %d: %w", p.PID, ErrGone), ns.Close())
	}
	return ns, nil
}

func (f *Finder) process(pid int) (Process, error) {
	started, err := parseStat(f.read(pid, "stat"))
	if err != nil {
		return Process{}, err
	}
	ns, err := os.Readlink(f.path(pid, "ns/net"))
	if err != nil {
		return Process{}, fmt.Errorf("read network namespace of process %d: %w", pid, err)
	}
	return Process{PID: pid, Started: started, Net: ns}, nil
}

// started is the number of the field of /proc/PID/stat that is wanted, counted
// from the one after the name: field 22 of proc_pid_stat(5).
const startedField = 22 - 3

// parseStat returns when a process was started. Its name stands in parentheses
// and may hold anything, also ")" and spaces.
func parseStat(text []byte) (uint64, error) {
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return 0, ErrGone
	}
	fields := strings.Fields(string(text[i+1:]))
	if len(fields) <= startedField {
		return 0, fmt.Errorf("read stat: %d fields after the name", len(fields))
	}
	started, err := strconv.ParseUint(fields[startedField], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read stat: %w", err)
	}
	return started, nil
}

func (f *Finder) path(pid int, name string) string {
	return f.proc + "/" + strconv.Itoa(pid) + "/" + name
}

// read returns the text of a file of a process, nothing if it has ended. It is
// valid until the next read.
func (f *Finder) read(pid int, name string) []byte {
	fd, err := unix.Open(f.path(pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }() // it was only read
	n := 0
	for n < len(f.buf) {
		m, err := unix.Read(fd, f.buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m == 0 {
			break
		}
		n += m
	}
	return f.buf[:n]
}

func (f *Finder) pids() ([]int, error) {
	dir, err := os.Open(f.proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
