// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cli_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestDetect finds all backends on a host with the tests' prerequisites, says
// why one doesn't work, and leaves the namespace that it is called in alone.
func TestDetect(t *testing.T) {
	testnet.New(t).Do(t, func() error {
		code, out, errOut := runWith(t, backends.All(), nil, "detect", "-o", "json")
		var found []struct {
			Backend, ClosedPorts, Why string
			Works, Auto               bool
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil || code != cli.ExitOK {
			t.Fatalf("exit code %d, %v, %s", code, err, errOut)
		}
		if len(found) != len(backends.All()) {
			t.Errorf("%d backends, want %d", len(found), len(backends.All()))
		}
		for _, d := range found {
			if !d.Works || d.ClosedPorts != "refuse" || d.Auto != (d.Backend == "nftables") {
				t.Errorf("%+v: want it to work, to refuse closed ports, and auto to take nftables", d)
			}
		}
		for _, b := range backends.All() {
			if holds, err := b.Holds(t.Context()); err != nil || holds {
				t.Errorf("%s holds something here: %v, %v", b.Name, holds, err)
			}
		}
		return nil
	})
}

// TestDetectWithoutPrograms has no PATH, as the image of static binaries.
func TestDetectWithoutPrograms(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	testnet.New(t).Do(t, func() error {
		code, out, _ := runWith(t, backends.All(), nil, "detect")
		lines := strings.Split(out, "\n")
		if code != cli.ExitOK || !strings.Contains(lines[1], "nftables         yes, auto takes it  refuse") || !strings.Contains(lines[2], "no ") || !strings.Contains(lines[2], "find iptables-nft: ") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
}

// TestMoveBetweenBackends leaves the rules of one alone, whichever was before.
func TestMoveBetweenBackends(t *testing.T) {
	testnet.New(t).Do(t, func() error {
		for _, name := range []string{"iptables-legacy", "nftables", "iptables-nft", "auto", "iptables", "auto"} {
			code, out, errOut := runWith(t, backends.All(), nil, article("apply", "--backend", name)...)
			if code != cli.ExitOK || !strings.Contains(out, "applied by") || errOut != "" {
				t.Errorf("apply by %s: exit code %d, %s%s", name, code, out, errOut)
			}
			if code, _, errOut := runWith(t, backends.All(), nil, article("check", "--backend", name)...); code != cli.ExitOK {
				t.Errorf("check by %s: exit code %d, %s", name, code, errOut)
			}
			if code, _, errOut := runWith(t, backends.All(), nil, article("check")...); code != cli.ExitOK {
				t.Errorf("check of %s's rules: exit code %d, %s", name, code, errOut)
			}
			holders := 0
			for _, other := range []string{"nftables", "iptables-nft", "iptables-legacy"} {
				if code, _, _ := runWith(t, backends.All(), nil, article("check", "--backend", other)...); code == cli.ExitOK {
					holders++
				}
			}
			if holders != 1 {
				t.Errorf("after apply by %s, %d backends hold the rules, want 1", name, holders)
			}
		}
		if code, out, errOut := runWith(t, backends.All(), nil, "remove"); code != cli.ExitOK || out != "redirect: removed\n" {
			t.Errorf("remove: exit code %d, %s%s", code, out, errOut)
		}
		return nil
	})
}

// TestImageWithoutSocketExtension is one of iptables that can't ask who listens:
// pods that worked go on working, and all verbs say what is amiss.
func TestImageWithoutSocketExtension(t *testing.T) {
	dir := extensionsBut(t, "libxt_socket.so")
	for _, name := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(name, func(t *testing.T) {
			testnet.New(t).Do(t, func() error {
				step := func(wantCode int, want string, args ...string) {
					t.Helper()
					code, out, errOut := runWith(t, backends.All(), nil, append(args, "--backend", name)...)
					if code != wantCode || !strings.Contains(out+errOut, want) {
						t.Errorf("redirect %s: exit code %d, %s%s; want code %d and %q", args[0], code, out, errOut, wantCode, want)
					}
				}
				t.Setenv("XTABLES_LIBDIR", dir)
				step(cli.ExitFailed, "socket", article("apply", "--closed-ports", "refuse")...)
				step(cli.ExitOK, "redirect: applied by "+name, article("apply")...)
				step(cli.ExitOK, "nobody listens are captured too: "+name, article("apply")...)
				step(cli.ExitOK, "redirect: no change", article("apply")...)
				step(cli.ExitOK, "as planned; ports on which nobody listens are captured too", article("check")...)
				step(cli.ExitDifferent, "want tcp listened", article("check", "--closed-ports", "refuse")...)
				if err := os.Unsetenv("XTABLES_LIBDIR"); err != nil { // empty, it would name a folder
					return err
				}
				step(cli.ExitOK, "redirect: applied by "+name, article("apply")...)
				step(cli.ExitOK, "redirect: as planned\n", article("check")...)
				return nil
			})
		})
	}
	t.Setenv("XTABLES_LIBDIR", dir)
	testnet.New(t).Do(t, func() error {
		if _, out, _ := runWith(t, backends.All(), nil, "detect"); !strings.Contains(out, "iptables         yes                 capture ") || !strings.Contains(out, "socket") {
			t.Errorf("detect says\n%s", out)
		}
		return nil
	})
}

// extensionsBut returns a folder with iptables' extensions but one.
func extensionsBut(t *testing.T, missing string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib*/*/xtables/lib*.so")
	more, err2 := filepath.Glob("/usr/lib*/xtables/lib*.so")
	found = append(found, more...)
	if err := errors.Join(err, err2); err != nil || len(found) == 0 {
		t.Fatalf("find iptables' extensions: %d, %v", len(found), err)
	}
	dir := t.TempDir()
	for _, at := range found {
		if name := filepath.Base(at); name != missing {
			if err := os.Symlink(at, filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
		}
	}
	return dir
}
