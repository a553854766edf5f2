// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

// binaryEnv names the static binary, where a script has built it as a user who
// can.
const binaryEnv = "SHUNT_REDIRECT_BINARY"

// TestImageOfOneBinary runs the command, with the line that everybody knows, in
// a root file system that holds it and nothing else: no /proc, no shell, no
// library, no iptables.
func TestImageOfOneBinary(t *testing.T) {
	root := t.TempDir()
	copyFile(t, redirectBinary(t), filepath.Join(root, "redirect"))
	mustBeStatic(t, filepath.Join(root, "redirect"))
	b := newBed(t)
	flags := []string{"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15020"}
	step := func(verb string, code int) {
		t.Helper()
		out, got := b.runIn(t, root, append([]string{verb}, flags...))
		if got != code {
			t.Fatalf("redirect %s: exit code %d, want %d: %s", verb, got, code, out)
		}
	}
	step("check", 1)
	step("apply", 0)
	step("apply", 0)
	step("check", 0)
	for _, c := range conformance.Settings()[0].CellsWhile(conformance.Everywhere) {
		if c.Aim.Port == conformance.Ordinary && c.Sender != conformance.OwnerGroup {
			if err := b.judge(c); err != nil {
				t.Error(err)
			}
		}
	}
	if out, code := b.runIn(t, root, []string{"remove"}); code != 0 {
		t.Fatalf("redirect remove: exit code %d: %s", code, out)
	}
	step("check", 1)
}

// runIn runs the binary in the pod with another root.
func (b *bed) runIn(t *testing.T, root string, args []string) (out string, code int) {
	t.Helper()
	var buf bytes.Buffer
	b.pod.Do(t, func() error {
		cmd := exec.Command("/redirect", args...)
		cmd.Dir, cmd.Env = "/", []string{}
		cmd.Stdout, cmd.Stderr = &buf, &buf
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code, err = exit.ExitCode(), nil
		}
		return err
	})
	return buf.String(), code
}

// redirectBinary returns the path of the static binary.
func redirectBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(binaryEnv); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "redirect")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../../cmd/redirect")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build redirect: %v: %s (%s may name one that is built)", err, out, binaryEnv)
	}
	return path
}

func mustBeStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			interpreter, err := io.ReadAll(p.Open())
			t.Fatal(fmt.Sprintf("%s is not static: it asks for %s", path, strings.TrimRight(string(interpreter), "\x00")), err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
