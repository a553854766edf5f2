// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cli_test

import (
	"encoding/json"
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
			Backend, Why string
			Works, Auto  bool
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil || code != cli.ExitOK {
			t.Fatalf("exit code %d, %v, %s", code, err, errOut)
		}
		if len(found) != len(backends.All()) {
			t.Errorf("%d backends, want %d", len(found), len(backends.All()))
		}
		for _, d := range found {
			if !d.Works || d.Auto != (d.Backend == "nftables") {
				t.Errorf("%+v: want it to work, and auto to take nftables", d)
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
		if code != cli.ExitOK || !strings.Contains(lines[1], "nftables         yes, auto takes it") || !strings.Contains(lines[2], "no ") || !strings.Contains(lines[2], "find iptables-nft: ") {
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
