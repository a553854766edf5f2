// SPDX-License-Identifier: Apache-2.0

//go:build netns

package install

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/cni/conf"
)

// insideEnv marks a test that runs in a mount namespace of its own.
const insideEnv = "SHUNT_TEST_INSTALL_MOUNTS"

// ownMounts runs the test again in a mount namespace of its own, and reports
// whether this is that one.
func ownMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("mounts need root (SHUNT_SKIP=<reason> skips this test)")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	t.Logf("in a mount namespace:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatal(err)
	}
	return false
}

// tmpfs mounts a small file system over a folder.
func tmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill leaves no space in a folder, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk isn't small")
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull: an install that finds no space leaves what is there as it was, says
// so once, and is done when there is space again.
func TestDiskFull(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	for name, dir := range map[string]func(node) string{
		"plugins":        func(n node) string { return n.bin },
		"configurations": func(n node) string { return n.conf },
	} {
		t.Run(name, func(t *testing.T) {
			n, c := newNode(t), counts{}
			tmpfs(t, dir(n))
			write(t, n.list(), list)
			write(t, n.plugin(), "an older plugin")
			write(t, n.source, string(make([]byte, 100<<10)))
			free := fill(t, dir(n))
			o := n.options()
			o.Count = c.add
			i, stop := start(t, o)
			within(t, soon, "an error", notReady(i, "no space left on device"))
			time.Sleep(1200 * time.Millisecond)
			if read(t, n.list()) != list {
				t.Errorf("the list is %s", read(t, n.list()))
			}
			if name == "plugins" && read(t, n.plugin()) != "an older plugin" {
				t.Error("the older plugin is gone")
			}
			if got := c.get(EventFailed); got != 1 {
				t.Errorf("counted %d failures", got)
			}
			n.clean(t)
			free()
			within(t, soon, "ready", ready(i))
			stop()
			if !chained(n.list(), conf.Default()) {
				t.Errorf("the list is %s", read(t, n.list()))
			}
		})
	}
}

// TestReadOnly: folders that can't be written are named, and written once they can.
func TestReadOnly(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	for name, dir := range map[string]func(node) string{
		"plugins":        func(n node) string { return n.bin },
		"configurations": func(n node) string { return n.conf },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			tmpfs(t, dir(n))
			write(t, n.list(), list)
			if err := unix.Mount("", dir(n), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			i, _ := start(t, n.options())
			within(t, soon, "an error", notReady(i, "read-only file system"))
			t.Log(i.Ready())
			if read(t, n.list()) != list {
				t.Errorf("the list is %s", read(t, n.list()))
			}
			if err := unix.Mount("", dir(n), "", unix.MS_REMOUNT, ""); err != nil {
				t.Fatal(err)
			}
			within(t, soon, "ready", ready(i))
		})
	}
}
