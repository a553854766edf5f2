// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/shuntmesh/shunt/cni/conf"
)

// TestInstall: the plugin is put in place, and stays when the agent ends.
func TestInstall(t *testing.T) {
	t.Parallel()
	n, c := newNode(t), counts{}
	write(t, filepath.Join(n.bin, tempPrefix+"1"), "left by a killed install")
	write(t, filepath.Join(n.conf, tempPrefix+"2"), "left by a killed install")
	o := n.options()
	o.Count = c.add
	i, stop := start(t, o)
	within(t, soon, "ready", ready(i))
	stop()
	if !chained(n.list(), conf.Default()) {
		t.Errorf("the list is %s", read(t, n.list()))
	}
	for path, want := range map[string]os.FileMode{n.plugin(): 0o755, n.list(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if got := read(t, n.plugin()); got != "the plugin" {
		t.Errorf("the plugin is %q", got)
	}
	n.clean(t)
	if c.get(EventBinary) != 1 || c.get(EventChained) != 1 || c.get(EventRepaired) != 0 || c.get(EventFailed) != 0 {
		t.Errorf("events: %v", c.of)
	}

	// The next agent finds all as it should be, and writes nothing.
	before := modTimes(t, n)
	i, stop = start(t, o)
	within(t, soon, "ready again", ready(i))
	stop()
	if after := modTimes(t, n); after != before {
		t.Errorf("written again: %v, before %v", after, before)
	}
}

func modTimes(t *testing.T, n node) [2]time.Time {
	t.Helper()
	var times [2]time.Time
	for i, path := range []string{n.plugin(), n.list()} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		times[i] = info.ModTime()
	}
	return times
}

// TestWait: without a configuration the agent waits, and says so.
func TestWait(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := os.RemoveAll(n.conf); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var answers []error
	o := n.options()
	o.Changed = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, err)
	}
	i, stop := start(t, o)
	within(t, soon, "waits", func() bool { return errors.Is(i.Ready(), ErrNoConfig) })
	if err := os.Mkdir(n.conf, 0o755); err != nil {
		t.Fatal(err)
	}
	rewrite(t, n.list(), list)
	took := within(t, soon, "ready", ready(i))
	t.Logf("chained %v after the configuration came", took)
	stop()
	if len(answers) != 2 || !errors.Is(answers[0], ErrNoConfig) || answers[1] != nil {
		t.Errorf("answers: %v", answers)
	}
}

// TestFolderReplaced: another folder of the same name is watched like the first.
func TestFolderReplaced(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	i, _ := start(t, n.options())
	within(t, soon, "ready", ready(i))
	for range 3 {
		if err := os.Rename(n.conf, n.conf+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(n.conf, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, n.list(), list)
		took := within(t, soon, "chained in the new folder", func() bool { return chained(n.list(), conf.Default()) })
		t.Logf("chained after %v", took)
		if err := os.RemoveAll(n.conf + ".old"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMountGone: what was mounted here was removed on the node, so that only a new
// start of the container can help.
func TestMountGone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	folder, err := os.Open(n.conf)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	o := n.options()
	o.ConfDir = filepath.Join("/proc/self/fd", itoa(folder.Fd()))
	i := New(o)
	done := make(chan error, 1)
	go func() { done <- i.Run(t.Context()) }()
	within(t, soon, "ready", ready(i))
	if err := os.RemoveAll(n.conf); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, errReplaced) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("Run goes on")
	}
}

// TestNewTarget: a file that comes before the others is chained, and the entry is
// taken out of what was the first until then.
func TestNewTarget(t *testing.T) {
	t.Parallel()
	n, c := newNode(t), counts{}
	o := n.options()
	o.Count = c.add
	i, _ := start(t, o)
	within(t, soon, "ready", ready(i))
	multus := filepath.Join(n.conf, "00-multus.conf")
	rewrite(t, multus, `{"name": "m", "cniVersion": "0.3.1", "type": "multus"}`)
	took := within(t, soon, "Multus is chained", func() bool {
		return chained(multus+"list", conf.Default()) && read(t, n.list()) == list
	})
	t.Logf("chained after %v", took)
	if _, err := os.Stat(multus); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the .conf is still there: %v", err)
	}
	within(t, soon, "both are counted", func() bool { return c.get(EventChained) == 2 && c.get(EventUnchained) == 1 })
	if err := os.Rename(multus+".shunt-saved", multus); err != nil { // as if killed before it was set aside
		t.Fatal(err)
	}
	within(t, soon, "it is set aside again", func() bool { return c.get(EventRepaired) == 1 && exists(t, multus+".shunt-saved") })
	if c.get(EventChained) != 2 || c.get(EventUnchained) != 1 {
		t.Errorf("events: %v", c.of)
	}
}

// newTestKeeper returns a keeper whose looks the test makes itself.
func newTestKeeper(t *testing.T, n node) *keeper {
	t.Helper()
	k, err := newKeeper(New(n.options()).o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// TestInPlace: a configuration that is written in place is broken for a moment,
// which is no reason to chain into the next. For longer, it is.
func TestInPlace(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	k, now := newTestKeeper(t, n), time.Now()
	look := func(after time.Duration, want error) {
		t.Helper()
		if _, err := k.look(now.Add(after)); !errors.Is(err, want) {
			t.Errorf("after %v: %v, want %v", after, err, want)
		}
	}
	look(0, nil)
	next := filepath.Join(n.conf, "20-b.conflist")
	write(t, next, list)
	write(t, n.list(), "")
	look(10*time.Millisecond, errMoment)
	write(t, n.list(), list[:20])
	look(settled, errMoment)
	if read(t, next) != list {
		t.Fatalf("the next configuration was written: %s", read(t, next))
	}
	write(t, n.list(), list)
	look(settled+5*time.Millisecond, nil)
	if !chained(n.list(), conf.Default()) || read(t, next) != list {
		t.Errorf("%s; the next is %s", read(t, n.list()), read(t, next))
	}
	write(t, n.list(), "")
	look(time.Second, errMoment)
	look(time.Second+settled, nil)
	if !chained(next, conf.Default()) {
		t.Errorf("a broken configuration keeps the next from being used: %s", read(t, next))
	}
}

// TestUnsupported: a configuration that the runtime uses and we can't use is no
// reason to chain into the next; the answer says why.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(t *testing.T, path string){
		"link": func(t *testing.T, path string) {
			write(t, path+".target", list)
			if err := os.Symlink(path+".target", path); err != nil {
				t.Fatal(err)
			}
		},
		"large": func(t *testing.T, path string) {
			write(t, path, `{"name": "big", "cniVersion": "1.0.0", "x": "`+strings.Repeat("x", 10<<20)+`", "plugins": [{"type": "bridge"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, c := newNode(t), counts{}
			make(t, filepath.Join(n.conf, "00-first.conflist"))
			o := n.options()
			o.Count = c.add
			i, stop := start(t, o)
			within(t, soon, "an error", notReady(i, "00-first.conflist can't be chained into: it is"))
			stop()
			if read(t, n.list()) != list || c.get(EventFailed) != 1 {
				t.Errorf("the next one is %s; events %v", read(t, n.list()), c.of)
			}
		})
	}
}

// TestSkipped: what is no file, or none that can be loaded, is passed over.
func TestSkipped(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := os.Mkdir(filepath.Join(n.conf, "00-folder.conflist"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(n.conf, "01-empty.conf"), "")
	if err := mkfifo(filepath.Join(n.conf, "02-pipe.conf")); err != nil {
		t.Fatal(err)
	}
	i, _ := start(t, n.options())
	within(t, soon, "ready", ready(i))
	if !chained(n.list(), conf.Default()) {
		t.Errorf("the list is %s", read(t, n.list()))
	}
}

// TestPolling: without inotify the next look finds what has to be repaired.
func TestPolling(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	k := newTestKeeper(t, n)
	tries := 0
	k.watch.create = func() (*fsnotify.Watcher, error) { tries++; return nil, errors.New("too many open files") }
	look := func() {
		k.watch.follow(time.Now())
		if _, err := k.look(time.Now()); err != nil {
			t.Error(err)
		}
	}
	look()
	for range 3 {
		rewrite(t, n.list(), list)
		if !k.watch.wait(t.Context().Done(), 0) {
			t.Fatal("wait ended")
		}
		look()
		if !chained(n.list(), conf.Default()) {
			t.Errorf("not repaired: %s", read(t, n.list()))
		}
	}
	if tries != 1 {
		t.Errorf("inotify was tried %d times", tries)
	}
	k.watch.retry = time.Now()
	k.watch.create = fsnotify.NewWatcher
	look()
	if k.watch.inotify == nil {
		t.Error("inotify isn't used once it can be had")
	}
}

// TestOptions refuses what is impossible.
func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.BinarySource = "" }, "BinarySource is empty"},
		{func(o *Options) { o.BinDir = "" }, "BinDir is empty"},
		{func(o *Options) { o.ConfDir = "" }, "ConfDir is empty"},
		{func(o *Options) { o.Entry.Type = "other" }, `entry: type: value "other" is not possible (allowed: shunt-cni)`},
		{func(o *Options) { o.Entry.Socket = "here" }, "entry: socket"},
	}
	for _, tt := range tests {
		o := newNode(t).options()
		tt.change(&o)
		i := New(o)
		for name, err := range map[string]error{"Run": i.Run(t.Context()), "Uninstall": i.Uninstall(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %s", name, err, tt.want)
			}
		}
	}
}
