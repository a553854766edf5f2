// SPDX-License-Identifier: Apache-2.0

//go:build netns

package iptables

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/ipv6"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestKernelWithoutIPv6 is no error: there is nothing to steer.
func TestKernelWithoutIPv6(t *testing.T) {
	p := plan(t, true)
	testnet.New(t).Do(t, func() error {
		b := Backend{withoutIPv6: true}
		if _, err := b.Apply(t.Context(), p); err != nil {
			return err
		}
		if err := (Backend{}).Check(t.Context(), p); err == nil {
			t.Error("the chains of IPv6 are there, want none")
		}
		return errors.Join(b.Check(t.Context(), p), b.Remove(t.Context()))
	})
}

// TestProgramsWithoutIPv6 is an error where IPv6 is to be steered, since it
// would be a way around the proxy, and none where it is not.
func TestProgramsWithoutIPv6(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"iptables-nft", "iptables-nft-save", "iptables-nft-restore"} {
		at, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(at, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	testnet.New(t).Do(t, func() error {
		_, err := Backend{}.Apply(t.Context(), plan(t, true))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "ip6tables-nft") {
			t.Errorf("apply of both families: %v, want ip6tables to be missed", err)
		}
		if d, err := (Backend{}).Holds(t.Context()); d || err != nil {
			t.Errorf("after the refusal, the namespace holds something: %v, %v", d, err)
		}
		if err := ipv6.CheckDialSource(false); err != nil {
			t.Errorf("after the refusal: %v", err)
		}
		_, err = Backend{}.Apply(t.Context(), plan(t, false))
		return err
	})
}

func plan(t *testing.T, ipv6 bool) redirect.Plan {
	t.Helper()
	c := redirect.DefaultConfig()
	c.IPv6 = ipv6
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
