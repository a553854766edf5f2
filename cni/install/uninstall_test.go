// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/cni/conf"
)

// installed returns a node with the plugin in place, and its installer, which has
// ended.
func installed(t *testing.T, change func(node, *Options)) (node, *Installer) {
	t.Helper()
	n := newNode(t)
	o := n.options()
	change(n, &o)
	i, stop := start(t, o)
	within(t, soon, "ready", ready(i))
	stop()
	return n, i
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestUninstall: the entry goes first, and the binary when the runtime has had
// time to see it. Nothing is left.
func TestUninstall(t *testing.T) {
	t.Parallel()
	n, i := installed(t, func(node, *Options) {})
	done := make(chan error, 1)
	go func() { done <- i.Uninstall(t.Context()) }()
	within(t, soon, "the entry is gone", func() bool { return read(t, n.list()) == list })
	if !exists(t, n.plugin()) {
		t.Error("the binary went with the entry")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(n.bin); err != nil || len(entries) > 0 {
		t.Errorf("left in the folder of plugins: %v, %v", entries, err)
	}
	if err := i.Ready(); !errors.Is(err, errUninstalled) {
		t.Errorf("ready: %v", err)
	}
	for range 2 {
		if err := i.Uninstall(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	// And back: the same installer can run again.
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- i.Run(ctx) }()
	within(t, soon, "ready", ready(i))
	cancel()
	if err := <-done; err != nil || !chained(n.list(), conf.Default()) {
		t.Errorf("run again: %v", err)
	}
}

// TestUninstallConverted: a .conf comes back as it was.
func TestUninstallConverted(t *testing.T) {
	t.Parallel()
	const single = "{\"name\": \"a\", \"cniVersion\": \"1.0.0\",\n \"type\": \"bridge\"}"
	n, i := installed(t, func(n node, _ *Options) {
		write(t, filepath.Join(n.conf, "05-b.conf"), single)
	})
	if !chained(filepath.Join(n.conf, "05-b.conflist"), conf.Default()) {
		t.Fatal("not chained")
	}
	if err := i.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := filepath.Glob(filepath.Join(n.conf, "*"))
	if err != nil || len(entries) != 2 || read(t, filepath.Join(n.conf, "05-b.conf")) != single {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestUninstallNamed: the binary stays while a configuration names it where it
// can't be taken out.
func TestUninstallNamed(t *testing.T) {
	t.Parallel()
	n, i := installed(t, func(node, *Options) {})
	delegating := filepath.Join(n.conf, "00-multus.conf")
	write(t, delegating, `{"name": "m", "cniVersion": "1.0.0", "type": "multus", "delegates": [{"type": "shunt-cni"}]}`)
	err := i.Uninstall(t.Context())
	if err == nil || !strings.Contains(err.Error(), "00-multus.conf") || !exists(t, n.plugin()) {
		t.Errorf("uninstall: %v, binary there: %v", err, exists(t, n.plugin()))
	}
	if read(t, n.list()) != list {
		t.Errorf("the entry is still in the list that we chained into: %s", read(t, n.list()))
	}
	if err := os.Remove(delegating); err != nil {
		t.Fatal(err)
	}
	if err := i.Uninstall(t.Context()); err != nil || exists(t, n.plugin()) {
		t.Errorf("uninstall: %v, binary there: %v", err, exists(t, n.plugin()))
	}
}

// TestUninstallCached: the binary stays while the runtime would call it to delete
// a pod.
func TestUninstallCached(t *testing.T) {
	t.Parallel()
	var results string
	n, i := installed(t, func(n node, o *Options) {
		o.CacheDir = filepath.Join(n.conf, "..", "cache")
		results = filepath.Join(o.CacheDir, "results")
	})
	if err := os.MkdirAll(results, 0o700); err != nil {
		t.Fatal(err)
	}
	config := base64.StdEncoding.EncodeToString([]byte(read(t, n.list())))
	write(t, filepath.Join(results, "a-1-eth0"), `{"kind":"cniCacheV1","config":"`+config+`"}`)
	write(t, filepath.Join(results, "a-2-eth0"), `{"kind":"cniCacheV1","config":"e30="}`)
	write(t, filepath.Join(results, "a-3-eth0"), `other`)
	if err := i.Uninstall(t.Context()); err != nil || !exists(t, n.plugin()) || read(t, n.list()) != list {
		t.Errorf("uninstall: %v, binary there: %v", err, exists(t, n.plugin()))
	}
	if err := os.Remove(filepath.Join(results, "a-1-eth0")); err != nil {
		t.Fatal(err)
	}
	if err := i.Uninstall(t.Context()); err != nil || exists(t, n.plugin()) {
		t.Errorf("uninstall: %v, binary there: %v", err, exists(t, n.plugin()))
	}
}

// TestUninstallBounded: it ends with its context, and can be called again.
func TestUninstallBounded(t *testing.T) {
	t.Parallel()
	n, i := installed(t, func(node, *Options) {})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := i.Uninstall(ctx); !errors.Is(err, context.DeadlineExceeded) || !exists(t, n.plugin()) {
		t.Errorf("uninstall: %v, binary there: %v", err, exists(t, n.plugin()))
	}
	if err := i.Uninstall(t.Context()); err != nil || exists(t, n.plugin()) {
		t.Errorf("uninstall again: %v, binary there: %v", err, exists(t, n.plugin()))
	}
}
