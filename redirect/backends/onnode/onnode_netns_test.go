// SPDX-License-Identifier: Apache-2.0

//go:build netns

package onnode_test

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"
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
// something afterwards. A few are lost: one that is open when the rules go that
// translate it, and over eBPF one whose port connection tracking changes, since it
// remembers another that the rules translated to the same: the proxy isn't told
// where that was going.
func TestSwitch(t *testing.T) {
	all := node(t)
	outside, pod := testnet.Pair(t)
	for name, addr := range map[string]string{"outbound": "[::]:15001", "inbound": "[::]:15006", "application": "[::]:8080"} {
		pod.Listen(t, name, addr)
	}
	outside.Listen(t, "far", "[::]:80")
	plan := plan(t)
	use(t, pod, all, "nftables", plan)
	ways := []*way{
		{from: pod, to: testnet.NodeV4 + ":80", want: "outbound " + testnet.NodeV4 + ":80 ", untold: "outbound 127.0.0.1:15001 "},
		{from: outside, to: testnet.PodV4 + ":8080", want: "inbound " + testnet.PodV4 + ":8080 ", untold: "inbound " + testnet.PodV4 + ":15006 "},
	}
	quit := make(chan struct{})
	var calling sync.WaitGroup
	for _, w := range ways {
		calling.Go(func() { w.callUntil(t, quit) })
	}
	stop := sync.OnceFunc(func() {
		close(quit)
		calling.Wait()
	})
	defer stop()
	const switches = 6
	for i := range switches {
		for _, w := range ways {
			w.more(t, 20)
		}
		use(t, pod, all, []string{onnode.EBPF, "nftables", onnode.EBPF, "iptables"}[i%4], plan)
	}
	for _, w := range ways {
		w.more(t, 20)
	}
	stop()
	for _, w := range ways {
		t.Logf("%d calls to %s, %d lost", w.calls.Load(), w.to, w.lost)
		if w.lost*20 > w.calls.Load() {
			t.Errorf("%d of %d connections to %s were lost", w.lost, w.calls.Load(), w.to)
		}
	}
}

// way is how one namespace calls the other.
type way struct {
	from         *testnet.Namespace
	to           string
	want, untold string // what the proxy says, and what where it isn't told the destination
	calls        atomic.Int64
	lost         int64 // that were open, and then silent, reset, or known to the proxy alone
}

// callUntil calls, one call after the other.
func (w *way) callUntil(t *testing.T, quit <-chan struct{}) {
	for ; ; w.calls.Add(1) {
		select {
		case <-quit:
			return
		case <-time.After(time.Millisecond):
		}
		c, said := w.from.Dial(t, "", w.to)
		switch {
		case c != nil && (strings.HasPrefix(said, "read tcp ") || strings.HasPrefix(said, w.untold)):
			w.lost++
		case !strings.HasPrefix(said, w.want):
			t.Errorf("%q answers at %s, want %q", said, w.to, w.want)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

// more waits for n calls more.
func (w *way) more(t *testing.T, n int64) {
	t.Helper()
	enough := w.calls.Load() + n
	for end := time.Now().Add(20 * time.Second); w.calls.Load() < enough; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d calls to %s in 20 s, want %d", w.calls.Load()+n-enough, w.to, n)
		}
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
