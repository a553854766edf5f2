// SPDX-License-Identifier: Apache-2.0

// Package podtest gives tests pods as a kernel sees them: processes in network
// namespaces of their own, in cgroups that are named as the kubelet names them.
// It needs root, says so where root is missing, and leaves nothing behind.
package podtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is how a pod is made.
type Kind struct {
	Systemd   bool   // the cgroup is named by the kubelet's systemd driver
	Host      bool   // it is in the caller's network namespace
	UserNS    bool   // it has a user namespace, and owns its network namespace by it
	UID       uint32 // the user of its process
	Container string // the cgroup below the pod's; "" for one
}

// Pod is a process of a pod.
type Pod struct {
	UID string
	PID int

	cmd *exec.Cmd
}

// cgroupRoot is the hierarchy that the pods are in: version 2 where it is, in
// whichever place.
func cgroupRoot() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	return "/sys/fs/cgroup"
}

// Start makes a process of the pod with that UID. It ends with the test, unless
// Stop was called.
func Start(t testing.TB, uid string, k Kind) *Pod {
	t.Helper()
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("network namespaces need root (SHUNT_SKIP=<reason> skips these tests)")
	}
	p := &Pod{UID: uid, cmd: exec.Command("sleep", "600")}
	// No Pdeathsig: threads that have entered a namespace die with their goroutines.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: k.UID, Gid: k.UID}}
	if !k.Host {
		p.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	if k.UserNS {
		p.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 200000, Size: 65536}}
		p.cmd.SysProcAttr.UidMappings, p.cmd.SysProcAttr.GidMappings = ids, ids
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start a process of a pod: %v", err)
	}
	t.Cleanup(p.Stop)
	p.PID = p.cmd.Process.Pid
	if err := p.join(t, k); err != nil {
		t.Fatal(err)
	}
	return p
}

// Join puts the calling process into the cgroup of a pod, until the test ends; its
// children follow.
func Join(t testing.TB, uid string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	home := cgroupRoot()
	for line := range strings.Lines(string(text)) {
		if below, is := strings.CutPrefix(strings.TrimSpace(line), "0::"); is {
			home = filepath.Join(home, below)
		}
	}
	p := &Pod{UID: uid, PID: os.Getpid()}
	if err := p.join(t, Kind{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the cgroup goes
		if err := os.WriteFile(filepath.Join(home, "cgroup.procs"), []byte(fmt.Sprint(p.PID)), 0o644); err != nil {
			t.Error(err)
		}
	})
}

// join puts the process into its cgroup, which goes with the test.
func (p *Pod) join(t testing.TB, k Kind) error {
	top := filepath.Join(cgroupRoot(), fmt.Sprintf("shunt-test-%d", os.Getpid()))
	path := filepath.Join("kubepods", "burstable", "pod"+p.UID)
	if k.Systemd {
		path = filepath.Join("kubepods.slice", "kubepods-burstable.slice", "kubepods-burstable-pod"+strings.ReplaceAll(p.UID, "-", "_")+".slice")
	}
	container := k.Container
	if container == "" {
		container = "cri-containerd-sandbox.scope"
	}
	dir := filepath.Join(top, path, container)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	// Cleanups run last first: the process is stopped before its cgroup goes.
	stopped := p.Stop
	t.Cleanup(func() {
		stopped()
		for ; dir != cgroupRoot(); dir = filepath.Dir(dir) {
			if err := rmdir(dir); err != nil {
				return // another pod is in it, and takes it along
			}
		}
	})
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(p.PID)), 0o644)
}

// rmdir waits for the kernel to see that the last process has gone.
func rmdir(dir string) (err error) {
	for range 50 {
		if err = unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return err
}

// Stop ends the process, and with it its namespaces.
func (p *Pod) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // it was killed
	p.cmd = nil
}

// Net is the path of the pod's network namespace.
func (p *Pod) Net() string { return fmt.Sprintf("/proc/%d/ns/net", p.PID) }
