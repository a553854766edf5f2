// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// The load under which programs are replaced.
const (
	openConnections = 1000
	newEach         = 5 * time.Millisecond // 200 a second
	upgrades        = 10
)

// TestUpgradeInPlace replaces the programs again and again under open
// connections and new ones: none is lost, and none goes around the proxy.
func TestUpgradeInPlace(t *testing.T) {
	n := loaded(t)
	node, pod := testnet.Pair(t)
	for name, addr := range map[string]string{"outbound": "[::]:15001", "inbound": "[::]:15006", "application": "[::]:8080"} {
		serveName(t, pod, name, addr)
	}
	serveName(t, node, "far", "[::]:80")
	apply(t, n, pod, captureAll())
	ways := []way{
		{pod, testnet.NodeV4 + ":80", "outbound"},
		{node, testnet.PodV4 + ":8080", "inbound"},
		{pod, "[" + testnet.NodeV6 + "]:80", "outbound"},
		{node, "[" + testnet.PodV6 + "]:8080", "inbound"},
	}
	var open []net.Conn
	for i := range openConnections {
		c, err := ways[i%len(ways)].call(t)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	stop := callOnAndOn(t, ways)
	replaced := upgradeOnAndOn(t, n)
	called, wrong := stop()
	for _, err := range wrong {
		t.Errorf("while programs were replaced: %v", err)
	}
	lost := 0
	for _, c := range open {
		if err := echo(c); err != nil {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d open connections were lost", lost, len(open))
	}
	t.Logf("%d upgrades, %d connections open, %d new", replaced, len(open), called)
	if want := replaced * 2; called < want {
		t.Errorf("%d connections in %d upgrades: the test shows nothing", called, replaced)
	}
}

// upgradeOnAndOn goes back and forth between two versions.
func upgradeOnAndOn(t *testing.T, n Node) (replaced int) {
	this, err := loadPrograms()
	if err != nil {
		t.Fatal(err)
	}
	versions := []*ebpf.CollectionSpec{nextVersion(t), this}
	for i := range upgrades {
		before := programIDs(t, n)
		if changed, err := n.load(t.Context(), versions[i%2].Copy()); err != nil || !changed {
			t.Fatalf("upgrade %d: changed %v, %v", i, changed, err)
		}
		for j, id := range programIDs(t, n) {
			if id == before[j] {
				t.Errorf("upgrade %d: %s was not replaced", i, hooks()[j].program)
			}
		}
		replaced++
	}
	return replaced
}

// way is from where to where, and who must answer.
type way struct {
	from *testnet.Namespace
	to   string
	want string
}

// call returns an open connection to the one who must answer.
func (w way) call(t testing.TB) (c net.Conn, err error) {
	w.from.Do(t, func() error {
		c, err = net.DialTimeout("tcp", w.to, 5*time.Second)
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	said := make([]byte, len(w.want))
	if _, err := io.ReadFull(c, said); err != nil {
		return nil, fmt.Errorf("%s: %w", w.to, err)
	}
	if string(said) != w.want {
		return nil, fmt.Errorf("%s: %q answers, want %q", w.to, said, w.want)
	}
	return c, echo(c)
}

// callOnAndOn opens connections until stop, which says how many those were and
// what was wrong with any.
func callOnAndOn(t *testing.T, ways []way) (stop func() (int, []error)) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var called int
	var wrong []error
	wg.Go(func() {
		tick := time.NewTicker(newEach)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			c, err := ways[called%len(ways)].call(t)
			if called++; err != nil {
				wrong = append(wrong, err)
				continue
			}
			_ = c.Close()
		}
	})
	return func() (int, []error) {
		close(quit)
		wg.Wait()
		return called, wrong
	}
}

// serveName says who it is to each that calls, and then echoes.
func serveName(t *testing.T, ns *testnet.Namespace, name, addr string) {
	t.Helper()
	l := ns.Listener(t, addr, false)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if _, err := io.WriteString(c, name); err == nil {
					_, _ = io.Copy(c, c)
				}
			})
		}
	})
	// Clients are closed first, since they were opened later.
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
}

func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}
