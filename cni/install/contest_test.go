// SPDX-License-Identifier: Apache-2.0

package install

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/shuntmesh/shunt/cni/conf"
)

// TestRewritten: each time that another installer writes the configuration, or
// somebody removes the plugin, that is mended within a second.
func TestRewritten(t *testing.T) {
	t.Parallel()
	n, c := newNode(t), counts{}
	o := n.options()
	o.Count = c.add
	i, _ := start(t, o)
	within(t, soon, "ready", ready(i))
	var took []time.Duration
	for round := range 8 {
		time.Sleep(sustained + time.Duration(rand.IntN(100))*time.Millisecond)
		switch round % 4 {
		case 0:
			rewrite(t, n.list(), list)
		case 1:
			write(t, n.list(), list)
		case 2:
			if err := os.Remove(n.plugin()); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := os.Remove(n.list()); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(n.conf, "10-a.conf"), `{"name": "a", "cniVersion": "1.0.0", "type": "bridge"}`)
		}
		took = append(took, within(t, time.Second, "mended", func() bool {
			_, err := os.Stat(n.plugin())
			return err == nil && chained(n.list(), conf.Default())
		}))
	}
	slices.Sort(took)
	t.Logf("mended after %v", took)
	within(t, soon, "repairs are counted", func() bool { return c.get(EventRepaired) >= 6 })
	if c.get(EventContested) != 0 || i.Ready() != nil {
		t.Errorf("events %v, ready %v", c.of, i.Ready())
	}
}

// TestFight: a program that answers each write with its own is met with two
// writes a second, the answer of Ready says so, and the last word is ours.
func TestFight(t *testing.T) {
	t.Parallel()
	n, c := newNode(t), counts{}
	o := n.options()
	o.Count = c.add
	i, _ := start(t, o)
	within(t, soon, "ready", ready(i))

	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(n.conf); err != nil {
		t.Fatal(err)
	}
	rewrite(t, n.list(), list)
	const lasts = 3 * time.Second
	end, undone := time.After(lasts), 0
	for fighting := true; fighting; {
		select {
		case <-end:
			fighting = false
		case <-w.Events:
			if strings.Contains(read(t, n.list()), "shunt-cni") {
				undone++
				rewrite(t, n.list(), list)
			}
		}
	}
	most := burst + int(lasts/sustained) + 1
	if undone < burst || undone > most {
		t.Errorf("%d writes were undone, want %d to %d", undone, burst, most)
	}
	if c.get(EventContested) == 0 || !notReady(i, "cni.exclusive=false")() {
		t.Errorf("ready: %v, events %v", i.Ready(), c.of)
	}
	took := within(t, soon, "chained", func() bool { return chained(n.list(), conf.Default()) })
	t.Logf("%d writes in %v, chained %v after the end", undone, lasts, took)
	within(t, soon, "ready again", ready(i))
}
