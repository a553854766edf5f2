// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// testOwnNode holds that the programs of a node are attached to its own control
// group, that the host has none, and that a pod is known on its own node alone.
func testOwnNode(t *testing.T, c *court) {
	root := controlGroups(t)
	owner := map[uint64]string{}
	for i, node := range nodes() {
		owner[inode(t, filepath.Join(root, "shunt-node"+strconv.Itoa(i+1)))] = node
	}
	for _, dir := range []string{"shunt-node1", "shunt-node1/kubepods"} {
		if found := effective(t, filepath.Join(root, dir)); len(found) < 6 {
			t.Errorf("%v act on %s, want six programs at least", found, dir)
		}
	}
	for _, node := range nodes() {
		attached := 0
		for _, p := range programs(t, node) {
			if p.cgroup == 0 {
				continue
			}
			attached++
			if owner[p.cgroup] != node {
				t.Errorf("%s of %s is attached to control group %d, which is %q's", p.name, node, p.cgroup, owner[p.cgroup])
			}
		}
		if attached < 6 {
			t.Errorf("%d programs of %s are attached to a control group, want 6 at least", attached, node)
		}
	}
	for _, dir := range []string{root, filepath.Join(root, ownGroup(t))} {
		if found := effective(t, dir); len(found) > 0 {
			t.Errorf("%v act on processes of the host in %s", found, dir)
		}
	}
	knownOnItsNode(t, c)
}

// effective names the mesh's programs that act on the processes of a control
// group, wherever above it they are attached.
func effective(t *testing.T, dir string) (names []string) {
	t.Helper()
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	for _, at := range []ebpf.AttachType{
		ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect, ebpf.AttachCGroupSockOps, ebpf.AttachCGroupGetsockopt,
		ebpf.AttachCgroupInet4GetPeername, ebpf.AttachCgroupInet6GetPeername,
	} {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(group.Fd()), Attach: at, QueryFlags: unix.BPF_F_QUERY_EFFECTIVE})
		if err != nil {
			t.Fatalf("ask what acts on %s: %v", dir, err)
		}
		for _, p := range found.Programs {
			if name := infoOf(t, p.ID).Name; strings.HasPrefix(name, "shunt_") {
				names = append(names, name)
			}
		}
	}
	return names
}

// knownOnItsNode starts a pod on one node, and finds its namespace there alone.
func knownOnItsNode(t *testing.T, c *court) {
	t.Helper()
	w := c.start(t, "own", "n1", 1, 0)[0]
	defer c.end(t, "own")
	c.ready(t, "own", afterwards)
	if known := knownTo(t, w, "witness"); !slices.Equal(known, []string{"n1"}) {
		t.Errorf("a pod of n1 is known to the programs of %v", known)
	}
}

// knownTo names the nodes whose programs know a pod, in which this command runs.
func knownTo(t *testing.T, w *witness, command string) (known []string) {
	t.Helper()
	pids := processes(t, w.uid, command)
	if len(pids) == 0 {
		t.Fatalf("%s has no process", w.name)
	}
	cookie := strconv.FormatUint(cookieOf(t, pids[0]), 10)
	for _, node := range nodes() {
		_, err := os.Stat(filepath.Join(onNode(t, node, pins), "pods", cookie))
		if err == nil {
			known = append(known, node)
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return known
}

// byPrograms holds, where the nodes prefer eBPF, that it is what captures each of
// these pods, and no rules that the plugin has fallen back to.
func byPrograms(t *testing.T, witnesses []*witness, command string) {
	t.Helper()
	if capture() != "ebpf" {
		return
	}
	for _, w := range witnesses {
		if len(knownTo(t, w, command)) == 0 {
			t.Errorf("%s is captured, and not by eBPF", w.name)
		}
	}
}

// controlGroups is where the host has version 2 of them.
func controlGroups(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(string(mounts)) {
		if before, _, ok := strings.Cut(line, " - cgroup2 "); ok {
			return strings.Fields(before)[4]
		}
	}
	t.Fatal("the host has no control groups of version 2")
	return ""
}

// ownGroup is that of this process, below the root.
func ownGroup(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return path
		}
	}
	t.Fatal("this process is in no control group of version 2")
	return ""
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatalf("look at %s: %v", path, err)
	}
	return s.Ino
}

// cookieOf is the cookie of the network namespace that a process is in.
func cookieOf(t *testing.T, pid int) uint64 {
	t.Helper()
	type result struct {
		cookie uint64
		err    error
	}
	done := make(chan result)
	go func() {
		// The thread ends with this goroutine, which doesn't unlock it.
		runtime.LockOSThread()
		cookie, err := cookieInside(fmt.Sprintf("/proc/%d/ns/net", pid))
		done <- result{cookie, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.cookie
}

func cookieInside(namespace string) (uint64, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("enter %s: %w", namespace, err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	return unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}
