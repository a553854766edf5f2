// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/cni/conf"
)

// TestClaim: who came last is not superseded, until it goes.
func TestClaim(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockName)
	take := func() *claim {
		c, err := takeClaim(path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	check := func(what string, c *claim, want bool) {
		t.Helper()
		if got, err := c.superseded(); got != want || err != nil {
			t.Errorf("%s: superseded %v, %v; want %v", what, got, err, want)
		}
	}
	first := take()
	if alone, err := first.alone(); !alone || err != nil {
		t.Errorf("the first is alone: %v, %v", alone, err)
	}
	check("the first", first, false)
	second, third := take(), take()
	check("the first of three", first, true)
	check("the second of three", second, true)
	check("the third of three", third, false)
	if alone, err := third.alone(); alone || err != nil {
		t.Errorf("the third is alone: %v, %v", alone, err)
	}
	if err := second.release(); err != nil {
		t.Fatal(err)
	}
	check("the first without the second", first, true)
	fourth := take()
	check("the third, before the fourth", third, true)
	for _, c := range []*claim{third, fourth} {
		if err := c.release(); err != nil {
			t.Fatal(err)
		}
	}
	check("the one that stayed", first, false)
	// A child that is being forked has the file open as well.
	copied, err := syscall.Dup(int(first.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	fifth := take()
	if alone, err := fifth.alone(); !alone || err != nil {
		t.Errorf("the fifth is alone: %v, %v", alone, err)
	}
	if fifth.stale() {
		t.Error("stale before the file is removed")
	}
	if err := os.Remove(path); err != nil || !fifth.stale() {
		t.Errorf("not stale after the file was removed (%v)", err)
	}
	if err := fifth.release(); err != nil {
		t.Fatal(err)
	}
}

// TestClaimRace: of agents that come at once each gets a place of its own.
func TestClaimRace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockName)
	var takers sync.WaitGroup
	claims := make([]*claim, 32)
	for i := range claims {
		takers.Go(func() {
			c, err := takeClaim(path)
			if err != nil {
				t.Error(err)
			}
			claims[i] = c
		})
	}
	takers.Wait()
	last := 0
	for _, c := range claims {
		superseded, err := c.superseded()
		if err != nil {
			t.Error(err)
		}
		if !superseded {
			last++
		}
	}
	for _, c := range claims {
		if err := c.release(); err != nil {
			t.Error(err)
		}
	}
	if last != 1 {
		t.Errorf("%d of %d came last", last, len(claims))
	}
}

// TestTwoAgents: the newer one wins without a fight, and leaves the node to the
// older one when it goes.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var oldCounts, newCounts counts
	o := n.options()
	o.Entry.Backend, o.Count = "iptables", oldCounts.add
	older, _ := start(t, o)
	within(t, soon, "the older is ready", ready(older))

	newSource := n.source + ".new"
	write(t, newSource, "the new plugin")
	nn := o
	nn.BinarySource, nn.Entry.Backend, nn.Count = newSource, "nftables", newCounts.add
	newer, stop := start(t, nn)
	within(t, soon, "the newer is ready", ready(newer))
	within(t, soon, "the older steps back", func() bool { return oldCounts.get(EventSuperseded) == 1 })

	rewrite(t, n.list(), list) // both see it, one repairs it
	within(t, soon, "repaired", func() bool { return chained(n.list(), nn.Entry) })
	time.Sleep(1500 * time.Millisecond) // more than a resync of both
	if !chained(n.list(), nn.Entry) || read(t, n.plugin()) != "the new plugin" {
		t.Errorf("the older one won: %s, plugin %q", read(t, n.list()), read(t, n.plugin()))
	}
	if older.Ready() != nil || oldCounts.get(EventRepaired) != 0 || oldCounts.get(EventBinary) != 1 || newCounts.get(EventRepaired) != 1 || newCounts.get(EventBinary) != 1 {
		t.Errorf("the older: %v, %v; the newer: %v", older.Ready(), oldCounts.of, newCounts.of)
	}
	if err := newer.Uninstall(t.Context()); !errors.Is(err, ErrShared) {
		t.Errorf("uninstall beside another agent: %v", err)
	}
	stop()
	took := within(t, soon, "the older takes over", func() bool {
		return chained(n.list(), o.Entry) && read(t, n.plugin()) == "the plugin"
	})
	t.Logf("taken over after %v", took)
	if chained(n.list(), conf.Default()) {
		t.Error("the check for entries takes any")
	}
}
