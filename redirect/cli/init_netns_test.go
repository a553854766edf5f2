// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

const mainEnv = "SHUNT_TEST_MAIN"

// TestMain is the command itself where mainEnv says so.
func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(mainEnv) == "bare" {
		mustBeBare()
	}
	os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, Backends: backends.All()}))
}

// mustBeBare proves that the test took away what it says: all capabilities but
// CAP_NET_ADMIN (number 12), and a root file system that can be written to.
func mustBeBare() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !bytes.Contains(status, []byte("CapEff:\t0000000000001000\n")) || !bytes.Contains(status, []byte("CapBnd:\t0000000000001000\n")) {
		fmt.Fprintf(os.Stdout, "capabilities are not CAP_NET_ADMIN alone: %v\n%s", err, status)
		os.Exit(100)
	}
	if err := os.WriteFile("/written", nil, 0o644); !errors.Is(err, unix.EROFS) {
		fmt.Fprintf(os.Stdout, "the root file system is not read-only: %v\n", err)
		os.Exit(100)
	}
}

// TestArticleAsInitContainer runs the known command line in a fresh pod's
// namespace with what the init container has: uid 0, CAP_NET_ADMIN and nothing
// else, a read-only root file system, no nft binary needed.
func TestArticleAsInitContainer(t *testing.T) {
	pod := testnet.New(t)
	steps := []struct {
		args []string
		want string
	}{
		{article("check"), "redirect check: table ip shunt: want the table, found no such table\n1"},
		{article("apply"), "redirect: applied by nftables\n0"},
		{article("apply"), "redirect: no change\n0"},
		{article("check"), "redirect: as planned\n0"},
		{article("check", "-o", "80"), "redirect check: ipv4 outbound rule 2: want "},
		{[]string{"remove"}, "redirect: removed\n0"},
		{[]string{"remove"}, "redirect: removed\n0"},
		{article("check"), "redirect check: table ip shunt: want the table, found no such table\n1"},
	}
	for _, step := range steps {
		if got := inBareContainer(t, pod, unix.CAP_NET_ADMIN, "bare", step.args); !strings.HasPrefix(got, step.want) {
			t.Errorf("redirect %v: %q, want %q", step.args, got, step.want)
		}
	}
}

// TestMissingPrivilege says what is missing.
func TestMissingPrivilege(t *testing.T) {
	got := inBareContainer(t, testnet.New(t), unix.CAP_NET_RAW, "raw", article("apply"))
	if !strings.Contains(got, "CAP_NET_ADMIN is needed") || !strings.HasSuffix(got, "\n3") {
		t.Errorf("without CAP_NET_ADMIN: %q, want exit code 3 and what is missing", got)
	}
}

// inBareContainer returns the output and the exit code.
func inBareContainer(t *testing.T, pod *testnet.Namespace, capability int, mode string, args []string) string {
	t.Helper()
	var out bytes.Buffer
	code := 0
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pod.Do(t, func() error {
		if err := bare(capability); err != nil {
			return err
		}
		cmd := exec.Command(self, args...)
		cmd.Env = []string{mainEnv + "=" + mode}
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code, err = exit.ExitCode(), nil
		}
		return err
	})
	return fmt.Sprintf("%s%d", out.String(), code)
}

// bare takes from the calling thread, which ends soon, and from what it starts.
func bare(keep int) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("/", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("remount root read-only: %w", err)
	}
	for c := 0; ; c++ {
		if c == keep {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) { // behind the last capability
			return nil
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
}

// TestOtherNamespace acts where --netns points, and not here.
func TestOtherNamespace(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		here, there := testnet.New(t), testnet.New(t)
		here.Do(t, func() error {
			for _, step := range [][]string{
				article("apply", "--netns", there.Path(), "--backend", backend),
				article("check", "--network-namespace", there.Path(), "--backend", backend),
			} {
				if code, _, errOut := runWith(t, backends.All(), nil, step...); code != cli.ExitOK {
					return fmt.Errorf("redirect %v: exit code %d, %s", step, code, errOut)
				}
			}
			if code, _, _ := runWith(t, backends.All(), nil, article("check", "--backend", backend)...); code != cli.ExitDifferent {
				return fmt.Errorf("check here: exit code %d, want %d", code, cli.ExitDifferent)
			}
			return nil
		})
	}
}

// TestApplyTime prints the figures for the change notes; it bounds nothing but
// the absurd.
func TestApplyTime(t *testing.T) {
	var times []time.Duration
	for range 50 {
		testnet.New(t).Do(t, func() error {
			begin := time.Now()
			code, _, errOut := run(t, nftables.Backend{}, article("apply")...)
			times = append(times, time.Since(begin))
			if code != cli.ExitOK {
				return errors.New(errOut)
			}
			return nil
		})
	}
	slices.Sort(times)
	t.Logf("FIGURE redirect.apply_p50 %.2f ms", float64(times[25].Microseconds())/1000)
	if times[25] > time.Second {
		t.Errorf("median of 50 applies in fresh namespaces: %v", times[25])
	}
}
