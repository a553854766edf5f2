// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/cni/install/conflist"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		os.Exit(victim(dir))
	}
	goleak.VerifyTestMain(m)
}

// soon is when at the latest something has to be that takes milliseconds. Machines
// that build and test at once can be slow.
const soon = 10 * time.Second

const (
	listName = "10-a.conflist"
	list     = `{"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}`
)

// node is the folders of a node, with a list and without a plugin.
type node struct {
	bin, conf, source string
}

func newNode(t *testing.T) node {
	t.Helper()
	return makeNode(t, t.TempDir())
}

func makeNode(t *testing.T, root string) node {
	t.Helper()
	n := node{bin: filepath.Join(root, "bin"), conf: filepath.Join(root, "net.d"), source: filepath.Join(root, "cni")}
	for _, dir := range []string{n.bin, n.conf} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, n.source, "the plugin")
	write(t, n.list(), list)
	return n
}

func (n node) list() string   { return filepath.Join(n.conf, listName) }
func (n node) plugin() string { return filepath.Join(n.bin, "shunt-cni") }

func (n node) options() Options {
	return Options{BinarySource: n.source, BinDir: n.bin, ConfDir: n.conf, Entry: conf.Default()}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rewrite does as careful installers do.
func rewrite(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".other", content)
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// chained reports whether the entry stands in the file as it should.
func chained(path string, e conf.Entry) bool {
	content, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	o := Options{BinarySource: "x", BinDir: "x", ConfDir: "x", Entry: e}
	entry, err := o.validate()
	if err != nil {
		return false
	}
	p, err := conflist.Install([]conflist.File{{Name: filepath.Base(path), Content: content}}, entry, "")
	return err == nil && len(p.Steps) == 0
}

// counts counts events.
type counts struct {
	mu sync.Mutex
	of map[Event]int
}

func (c *counts) add(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(Events(), e) {
		panic("an event that Events doesn't know: " + e)
	}
	if c.of == nil {
		c.of = make(map[Event]int)
	}
	c.of[e]++
}

func (c *counts) get(e Event) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[e]
}

// start runs an installer until stop is called, or the test ends.
func start(t *testing.T, o Options) (i *Installer, stop func()) {
	t.Helper()
	i = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return i, stop
}

// within waits until something holds, and returns how long that took.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > limit {
			t.Fatalf("not after %v: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(begin)
}

func ready(i *Installer) func() bool { return func() bool { return i.Ready() == nil } }

func notReady(i *Installer, words string) func() bool {
	return func() bool { err := i.Ready(); return err != nil && strings.Contains(err.Error(), words) }
}

// clean holds that no temporary file was left.
func (n node) clean(t *testing.T) {
	t.Helper()
	for _, dir := range []string{n.bin, n.conf} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				t.Errorf("%s was left in %s", e.Name(), dir)
			}
		}
	}
}
