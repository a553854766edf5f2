// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

func itoa(fd uintptr) string { return strconv.FormatUint(uint64(fd), 10) }

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

// TestBinary: whatever stands in the plugin's place, the plugin is there after.
func TestBinary(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, path string){
		"missing":  func(*testing.T, string) {},
		"older":    func(t *testing.T, path string) { write(t, path, "an older plugin") },
		"longer":   func(t *testing.T, path string) { write(t, path, "the plugin, and more") },
		"mode":     func(t *testing.T, path string) { write(t, path, "the plugin") },
		"dangling": func(t *testing.T, path string) { link(t, "nowhere", path) },
		"linked": func(t *testing.T, path string) {
			write(t, path+".other", "the plugin")
			link(t, path+".other", path)
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			prepare(t, n.plugin())
			b := binary{source: n.source, dir: n.bin}
			if right, err := b.right(); right || err != nil {
				t.Fatalf("right before: %v, %v", right, err)
			}
			if err := b.write(); err != nil {
				t.Fatal(err)
			}
			if right, err := b.right(); !right || err != nil {
				t.Errorf("right after: %v, %v", right, err)
			}
			if info, err := os.Lstat(n.plugin()); err != nil || info.Mode() != 0o755 || read(t, n.plugin()) != "the plugin" {
				t.Errorf("%v %q, %v", info.Mode(), read(t, n.plugin()), err)
			}
			n.clean(t)
		})
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// TestBinaryError: what can't be done is said, and leaves nothing behind.
func TestBinaryError(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := os.Mkdir(n.plugin(), 0o755); err != nil {
		t.Fatal(err)
	}
	b := binary{source: n.source, dir: n.bin}
	if err := b.write(); err == nil {
		t.Error("a folder was replaced")
	}
	n.clean(t)
	b = binary{source: n.source + ".missing", dir: n.bin}
	if err := b.write(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a source: %v", err)
	}
	b = binary{source: n.source, dir: n.bin, want: &digest{1}}
	if err := b.write(); err == nil {
		t.Error("a copy with another content was put in place")
	}
	n.clean(t)
}

// TestBinaryTouched: a change that keeps size and time is found.
func TestBinaryTouched(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	b := binary{source: n.source, dir: n.bin}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	if right, err := b.right(); !right || err != nil {
		t.Fatalf("right: %v, %v", right, err)
	}
	info, err := os.Stat(n.plugin())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the kernel's clock of files is coarse
	if err := os.WriteFile(n.plugin(), []byte("the plugiN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(n.plugin(), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if right, err := b.right(); right || err != nil {
		t.Errorf("right after it was changed: %v, %v", right, err)
	}
}

// TestBusy replaces the plugin while others execute it, and while this process
// forks children that could hold the new one open for writing.
func TestBusy(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	n.source = program
	b := binary{source: n.source, dir: n.bin}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var runs sync.WaitGroup
	for range 2 {
		runs.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if out, err := exec.Command(n.plugin()).CombinedOutput(); err != nil {
					t.Errorf("run the plugin: %v %s", err, out)
					return
				}
			}
		})
	}
	for range 50 {
		if err := b.write(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	runs.Wait()
	if entries, err := filepath.Glob(filepath.Join(n.bin, "*")); err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}
