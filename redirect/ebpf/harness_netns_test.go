// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

func TestMain(m *testing.M) {
	if testnet.Child() {
		return
	}
	if bpffs := os.Getenv(applyEnv); bpffs != "" {
		os.Exit(applyMain(bpffs))
	}
	if to := os.Getenv(relayEnv); to != "" {
		fmt.Fprintln(os.Stderr, relayMain(to))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// confine makes this process the only one of a node, until the test ends. Tests
// that do so take turns.
func confine(t testing.TB) Node {
	t.Helper()
	if os.Getuid() != 0 {
		testnet.New(t) // says what is missing
	}
	turn.Lock()
	t.Cleanup(turn.Unlock)
	c, err := testnet.Confine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Leave(); err != nil {
			t.Error(err)
		}
	})
	return Node{BPFFS: c.BPFFS, CgroupRoot: c.Cgroup}
}

// turn is taken while the process is in a test's control group.
var turn sync.Mutex

// loaded is a node with its programs.
func loaded(t testing.TB) Node {
	t.Helper()
	n := confine(t)
	if changed, err := n.Load(t.Context()); err != nil || !changed {
		t.Fatalf("load: changed %v, %v", changed, err)
	}
	return n
}

func (n Node) backend() Backend { return Backend{n.BPFFS} }

// captureAll is the Config of an ordinary pod, as the programs can do it.
func captureAll() redirect.Config {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	c.ClosedPorts = redirect.ClosedCapture
	return c
}

func apply(t testing.TB, n Node, ns *testnet.Namespace, c redirect.Config) (changed bool) {
	t.Helper()
	ns.Do(t, func() (err error) {
		changed, err = n.backend().Apply(t.Context(), plan(t, c))
		return err
	})
	return changed
}

func check(t testing.TB, n Node, ns *testnet.Namespace, c redirect.Config) (err error) {
	t.Helper()
	ns.Do(t, func() error {
		err = n.backend().Check(t.Context(), plan(t, c))
		return nil
	})
	return err
}

func remove(t testing.TB, n Node, ns *testnet.Namespace) {
	t.Helper()
	ns.Do(t, func() error { return n.backend().Remove(t.Context()) })
}

func plan(t testing.TB, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func isDifference(err error) bool {
	var d *redirect.Difference
	return errors.As(err, &d)
}

// held says how much is written on a node: pods, entries of policies, where
// somebody listens, links.
func held(t testing.TB, n Node) string {
	t.Helper()
	maps, err := openMaps(n.layout())
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	var cookie uint64
	var v podValue
	pods := 0
	for it := maps.pods.Iterate(); it.Next(&cookie, &v); {
		pods++
	}
	var k entryKey
	var e entry
	entries := 0
	for it := maps.policies.Iterate(); it.Next(&k, &e); {
		entries++
	}
	var at ear
	var h heard
	ears := 0
	for it := maps.listening.Iterate(); it.Next(&at, &h); {
		ears++
	}
	links, err := os.ReadDir(n.layout().pods())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d pods, %d entries, %d ears, %d links", pods, entries, ears, len(links))
}
