// SPDX-License-Identifier: Apache-2.0

//go:build netns

package images_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

// TestIPTablesImage runs redirect from the image's own files, and nothing else,
// in a network namespace of its own: every backend works there.
func TestIPTablesImage(t *testing.T) {
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("chroot and network namespaces need root (SHUNT_SKIP=<reason> skips this test)")
	}
	bin := newBinDir(t)
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(bin, "redirect"), "../../cmd/redirect")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	img, err := images.Pack(images.IPTables()[0], bin)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	extract(t, img, root)
	container(t, root)
	for _, backend := range []string{"nftables", "iptables", "iptables-nft", "iptables-legacy"} {
		t.Run(backend, func(t *testing.T) {
			args := []string{"apply", "--backend", backend, "-b", "*", "-i", "*", "--drop-invalid", "-c", "net1"}
			out, err := inImage(root, args)
			if err != nil || !strings.Contains(out, "applied by "+backend) {
				t.Errorf("redirect %v: %v, %s", args, err, out)
			}
		})
	}
	if out, err := inImage(root, []string{"detect"}); err != nil || strings.Contains(out, "  no") {
		t.Errorf("redirect detect: %v\n%s", err, out)
	}
}

// container adds what every container has beside its image.
func container(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"dev", "proc"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mknod(filepath.Join(root, "dev", "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join(root, "proc")
	if err := unix.Mount("/proc", proc, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(proc, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// inImage starts redirect with the image as its root and a fresh namespace.
func inImage(root string, args []string) (string, error) {
	cmd := exec.Command("/usr/local/bin/redirect", args...)
	cmd.Env = []string{"PATH=/usr/local/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func extract(t *testing.T, img v1.Image, root string) {
	t.Helper()
	r := tar.NewReader(mutate.Extract(img))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(root, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(at, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, at)
		default:
			var body []byte
			if body, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(at, body, os.FileMode(h.Mode))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
