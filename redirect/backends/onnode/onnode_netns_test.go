// SPDX-License-Identifier: Apache-2.0

//go:build netns

package onnode_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
	"github.com/shuntmesh/shunt/redirect/ebpf"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestSwitch goes from one backend to the next and back, with a pod that works:
// no connection goes around the proxy, or is refused, and only one backend holds
// something afterwards.
func TestSwitch(t *testing.T) {
	all := node(t)
	outside, pod := testnet.Pair(t)
	for name, addr := range map[string]string{"outbound": "[::]:15001", "inbound": "[::]:15006", "application": "[::]:8080"} {
		pod.Listen(t, name, addr)
	}
	outside.Listen(t, "far", "[::]:80")
	plan := plan(t)
	use(t, pod, all, "nftables", plan)
	quit := make(chan struct{})
	var calling sync.WaitGroup
	calls := make([]int, 2)
	for i, way := range []struct {
		from     *testnet.Namespace
		to, want string
	}{
		{pod, testnet.NodeV4 + ":80", "outbound " + testnet.NodeV4 + ":80 "},
		{outside, testnet.PodV4 + ":8080", "inbound " + testnet.PodV4 + ":8080 "},
	} {
		calling.Go(func() {
			for ; ; calls[i]++ {
				select {
				case <-quit:
					return
				case <-time.After(time.Millisecond):
				}
				c, said := way.from.Dial(t, "", way.to)
				if !strings.HasPrefix(said, way.want) {
					t.Errorf("%q answers at %s, want %q", said, way.to, way.want)
				}
				if c != nil {
					_ = c.Close()
				}
			}
		})
	}
	const switches = 6
	for i := range switches {
		time.Sleep(100 * time.Millisecond)
		use(t, pod, all, []string{onnode.EBPF, "nftables", onnode.EBPF, "iptables"}[i%4], plan)
	}
	time.Sleep(100 * time.Millisecond)
	close(quit)
	calling.Wait()
	t.Logf("%d switches, %v calls", switches, calls)
	if calls[0] < 10*switches || calls[1] < 10*switches {
		t.Errorf("%v calls in %d switches: the test shows nothing", calls, switches)
	}
}

// TestNotLoaded is a node that boots: another backend does it, and says why.
func TestNotLoaded(t *testing.T) {
	_, pod := testnet.Pair(t)
	choice, err := backends.Choose(onnode.EBPF, onnode.Backends(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	pod.Do(t, func() error {
		done, err := choice.Apply(t.Context(), plan(t))
		if err != nil || done.By != "nftables" || done.Instead == nil || !strings.Contains(done.Instead.Error(), "no programs are loaded") {
			t.Errorf("%+v, %v", done, err)
		}
		if err := choice.Check(t.Context(), plan(t)); err != nil {
			t.Error(err)
		}
		_, err = choice.Remove(t.Context())
		return err
	})
}

// TestRefused is a pod that asks for what eBPF can't do.
func TestRefused(t *testing.T) {
	all := node(t)
	_, pod := testnet.Pair(t)
	choice, err := backends.Choose(onnode.EBPF, all)
	if err != nil {
		t.Fatal(err)
	}
	c := config()
	c.DropInvalid = true
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	pod.Do(t, func() error {
		done, err := choice.Apply(t.Context(), p)
		if err != nil || done.By != "nftables" || done.Instead == nil || !strings.Contains(done.Instead.Error(), "--drop-invalid") {
			t.Errorf("%+v, %v", done, err)
		}
		return choice.Check(t.Context(), p)
	})
}

// node has the programs loaded, and this process in its control group.
func node(t *testing.T) []backends.Backend {
	t.Helper()
	if os.Getuid() != 0 {
		testnet.New(t) // says what is missing
	}
	c, err := testnet.Confine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Leave(); err != nil {
			t.Error(err)
		}
	})
	if _, err := (ebpf.Node{BPFFS: c.BPFFS, CgroupRoot: c.Cgroup}).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return onnode.Backends(c.BPFFS)
}

func config() redirect.Config {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	return c
}

func plan(t *testing.T) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(config())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// use makes a pod's namespace as that backend makes it, and as no other does.
func use(t *testing.T, pod *testnet.Namespace, all []backends.Backend, name string, p redirect.Plan) {
	t.Helper()
	choice, err := backends.Choose(name, all)
	if err != nil {
		t.Fatal(err)
	}
	every, err := backends.Choose(backends.Auto, all)
	if err != nil {
		t.Fatal(err)
	}
	pod.Do(t, func() error {
		done, err := choice.Apply(t.Context(), p)
		if err != nil || done.By != name || done.Instead != nil || len(done.Left) > 0 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		for _, b := range all {
			if holds, err := b.Holds(t.Context()); !b.Forced && (err != nil || holds != (b.Name == name)) {
				t.Errorf("after %s: %s holds something: %v, %v", name, b.Name, holds, err)
			}
		}
		return every.Check(t.Context(), p)
	})
}
