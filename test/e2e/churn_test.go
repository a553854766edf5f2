// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// held is what a node and its agent have in hand, by name.
type held map[string]int

// inventory counts it. What is asked of the kernel, it says of the whole machine;
// of files those count that are the node's own.
func inventory(t *testing.T, node string) held {
	t.Helper()
	h := held{"goroutines of the agent": gauge(t, node, "go_goroutines")}
	for _, pid := range processes(t, agentPod(t, node).Metadata.UID, "agent") {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		h["files of the agent"] = len(fds)
		for _, fd := range fds {
			if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); strings.HasPrefix(target, "net:") {
				h["namespaces that the agent holds"]++
			}
		}
	}
	mounts, err := os.ReadFile(strings.TrimSuffix(onNode(t, node, ""), "/root") + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	h["namespaces that are mounted"] = strings.Count(string(mounts), " - nsfs ")
	for _, dir := range []string{"/run/shunt", "/opt/cni/bin", "/etc/cni/net.d", "/var/lib/cni", "/run/cni/networks/" + node} {
		entries, _ := os.ReadDir(onNode(t, node, dir))
		h["files in "+dir] = len(entries)
	}
	if capture() == "ebpf" {
		maps.Copy(h, pinned(t, node))
	}
	return h
}

// collected is when an agent has looked for leavings at the latest: it does each
// minute.
const collected = 90 * time.Second

// churned is the node whose pods come and go. Those of testBoot are on another, so
// that the agent's minute passes meanwhile.
const churned = "n1"

// testChurn creates and deletes pods on one node, and finds that the agent stays
// small. What they leave is looked for by testNothingLeft.
func testChurn(t *testing.T, c *court) {
	const rssLimit = 30 << 20 // bytes
	c.empty(t)
	c.before = inventory(t, churned)
	total, together := size(16, 500), size(8, 60) // two cores are busy with 60 that start
	peak := 0
	for left := total; left > 0; left -= together {
		began := time.Now()
		witnesses := c.start(t, "churn", churned, min(left, together), 0)
		c.ready(t, "churn", 15*time.Minute)
		c.heard(t, witnesses)
		peak = max(peak, gauge(t, churned, "process_resident_memory_bytes"))
		started := time.Since(began)
		c.end(t, "churn")
		c.empty(t)
		t.Logf("%d pods had started after %v and were gone after %v", len(witnesses), started, time.Since(began))
	}
	figure("cni.churned_pods", total, "pods")
	figure("cni.agent_rss_mib", fmt.Sprintf("%.1f", float64(peak)/(1<<20)), "MiB")
	if peak > rssLimit {
		t.Errorf("the agent holds %d bytes with %d pods, want %d at most", peak, together, rssLimit)
	}
}

// testNothingLeft finds that nothing of the churned pods is left with the node or
// its agent.
func testNothingLeft(t *testing.T, c *court) {
	if c.before == nil {
		t.Fatal("no pods were churned (run it together with churn)")
	}
	eventually(t, collected, func() string {
		var more []string
		after := inventory(t, churned)
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if was, is := c.before[name], after[name]; is > was+slack(name) {
				more = append(more, fmt.Sprintf("%s: %d, %d before", name, is, was))
			}
		}
		return strings.Join(more, "; ")
	})
}

// gauge is one value of an agent's metrics.
func gauge(t *testing.T, node, name string) int {
	t.Helper()
	values, err := metrics(node)
	if err != nil {
		t.Fatal(err)
	}
	value, ok := values[name]
	if !ok {
		t.Fatalf("the agent of %s has no metric %s", node, name)
	}
	return int(value)
}

// slack is what comes and goes by itself: a request under way has a goroutine and
// a socket or two.
func slack(name string) int {
	if strings.HasSuffix(name, "of the agent") {
		return 4
	}
	return 0
}
