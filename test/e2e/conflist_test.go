// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	conflist = "/etc/cni/net.d/10-bridge.conflist" // of test/cluster
	plugin   = "/opt/cni/bin/shunt-cni"
)

// withoutUs is the conflist of a node as its own installer would write it.
func withoutUs(t *testing.T, node string) []byte {
	t.Helper()
	text, err := os.ReadFile(onNode(t, node, conflist))
	if err != nil {
		t.Fatal(err)
	}
	list := decode[map[string]any](t, string(text))
	plugins, _ := list["plugins"].([]any)
	var others []any
	for _, p := range plugins {
		if fields, ok := p.(map[string]any); ok && fields["type"] != filepath.Base(plugin) {
			others = append(others, p)
		}
	}
	if len(others) == 0 || len(others) == len(plugins) {
		t.Fatalf("%d of %d plugins of %s are ours:\n%s", len(plugins)-len(others), len(plugins), node, text)
	}
	list["plugins"] = others
	if text, err = json.MarshalIndent(list, "", "  "); err != nil {
		t.Fatal(err)
	}
	return text
}

// chained tells whether our entry is in the conflist of a node.
func chained(t *testing.T, node string) bool {
	t.Helper()
	text, err := os.ReadFile(onNode(t, node, conflist))
	return err == nil && strings.Contains(string(text), filepath.Base(plugin))
}

// rewrite puts a conflist in place as other installers do: some write a file
// beside it and rename that, some write over it.
func rewrite(t *testing.T, node string, text []byte, renamed bool) {
	t.Helper()
	path := onNode(t, node, conflist)
	if !renamed {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	beside := filepath.Join(filepath.Dir(path), ".10-bridge.conflist.new")
	if err := os.WriteFile(beside, text, 0o644); err != nil {
		t.Error(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Error(err)
	}
}

// testConflistRewritten has another process take our entry out of the conflist of
// each node every 2 s, while pods start. Pods that come in between have no rules,
// wait, and are repaired.
func testConflistRewritten(t *testing.T, c *court) {
	const every, repairLimit = 2 * time.Second, time.Second
	length := size(again(10*time.Second, 20*time.Second), time.Minute)
	stop := c.flow(t, "rewritten", 0, pace)
	var (
		mu      sync.Mutex
		slowest time.Duration
		times   int
		writers sync.WaitGroup
	)
	for _, node := range nodes() {
		theirs := withoutUs(t, node)
		writers.Go(func() {
			renamed := false
			for end := time.Now().Add(length); time.Now().Before(end); renamed = !renamed {
				began := time.Now()
				rewrite(t, node, theirs, renamed)
				for !chained(t, node) && time.Since(began) < every {
					time.Sleep(5 * time.Millisecond)
				}
				mu.Lock()
				times++
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
				time.Sleep(every - time.Since(began))
			}
		})
	}
	writers.Wait()
	witnesses := stop()
	figure("cni.rewrites", times, "rewrites")
	figure("cni.repair_ms_max", slowest.Milliseconds(), "ms")
	if slowest > repairLimit {
		t.Errorf("the conflist was whole again within %v, want %v at most", slowest, repairLimit)
	}
	c.ready(t, "rewritten", afterwards)
	c.heard(t, witnesses)
}

// installed tells what of the plugin is on a node.
func installed(t *testing.T, node string) string {
	t.Helper()
	_, err := os.Stat(onNode(t, node, plugin))
	return fmt.Sprintf("chained %t, binary %t", chained(t, node), err == nil)
}

func awaitInstalled(t *testing.T, want string) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		for _, node := range nodes() {
			if got := installed(t, node); got != want {
				return fmt.Sprintf("%s: %s, want %s", node, got, want)
			}
		}
		return ""
	})
}
