// SPDX-License-Identifier: Apache-2.0

//go:build netns

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/podtest"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/figure"
)

// TestEBPF is the life of a node that captures by eBPF: pods are captured whether
// the agent is there or not, and by whichever version of the programs.
func TestEBPF(t *testing.T) {
	n := newBPFNode(t)
	n.begin()
	missed := n.pod(1)
	n.api.set(t, uid(1), true)
	n.within(4*time.Second, "the missed pod repaired", func() bool { return captured(missed) == nil })
	n.within(2*time.Second, "an Event", func() bool { return n.api.reported("CaptureRepaired") == 1 })
	n.kill()
	n.mustBeCaptured("the agent is dead", missed)
	added := n.pod(2)
	n.add(added)
	n.mustBeCaptured("added while the agent is dead", missed, added)
	n.begin()
	n.mustBeCaptured("the agent is back", missed, added)
	if v := n.metric(`shunt_node_ebpf_loads_total{result="unchanged"}`); v != 1 {
		t.Errorf("%v loads without a change, want 1", v)
	}
	this := n.tags()
	n.stop()
	plain := n.binary
	n.binary = nextVersion(t, n.dir)
	n.begin()
	if next := n.tags(); next[0] == this[0] {
		t.Errorf("programs %q after the upgrade, before %q", next, this)
	}
	n.mustBeCaptured("upgraded", missed, added)
	n.stop()
	n.binary = plain
	n.begin()
	if again := n.tags(); strings.Join(again, ",") != strings.Join(this, ",") {
		t.Errorf("programs %q after the downgrade, want %q", again, this)
	}
	n.mustBeCaptured("downgraded", missed, added)
	n.stop()
	n.mustBeCaptured("stopped", missed, added)
	if repaired := n.api.reported("CaptureRepaired"); repaired != 1 {
		t.Errorf("%d pods were repaired, want the missed one alone", repaired)
	}
}

// TestFullNodeEBPF repairs 250 pods over eBPF, and holds nothing of them when they
// have gone.
func TestFullNodeEBPF(t *testing.T) {
	n := newBPFNode(t)
	var running []*podtest.Pod
	for i := range pods {
		n.api.set(t, uid(i), true)
		running = append(running, podtest.Start(t, uid(i), podtest.Kind{UID: uint32(i % 3 * 1000)}))
	}
	n.begin()
	n.within(90*time.Second, "all repaired", func() bool { return n.metric(`shunt_node_repairs_total{result="repaired"}`) == pods })
	time.Sleep(8 * time.Second) // each is read back once more
	rss := n.memory("VmRSS")
	figure.Publish(t, "ebpf.agent_rss_mib", fmt.Sprintf("%.1f", float64(rss)/mib), "MiB")
	figure.Publish(t, "ebpf.agent_worst_rss_mib", fmt.Sprintf("%.1f", float64(n.memory("VmHWM"))/mib), "MiB")
	if rss > maxRSS {
		t.Errorf("%d bytes are resident, at most %d are wanted", rss, maxRSS)
	}
	held := func() int {
		entries, err := os.ReadDir(filepath.Join(n.bpffs, "shunt", "v1", "pods"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if held() != pods {
		t.Errorf("%d pods are captured by eBPF, want %d", held(), pods)
	}
	n.stop()
	for i, p := range running {
		p.Stop()
		n.api.set(t, uid(i), false)
	}
	time.Sleep(2 * time.Second) // the kernel ends their namespaces
	n.begin()                   // it collects
	if held() != 0 {
		t.Errorf("%d pods are held after all have gone", held())
	}
	n.stop()
}

// TestEBPFGoes takes the programs away when no pod needs them any more, or when
// the rules are to go.
func TestEBPFGoes(t *testing.T) {
	n := newBPFNode(t)
	n.begin()
	pod := n.pod(1)
	n.add(pod)
	n.mustBeCaptured("added", pod)
	n.stop()

	n.flags[0] = "--backend=auto" // the mesh was installed anew, without eBPF
	n.api.set(t, uid(1), true)
	n.start(n.api.kubeconfig(t), n.flags...)
	n.within(30*time.Second, "ready", n.ready)
	n.within(5*time.Second, "another backend", func() bool { return n.api.annotation(t).Backend == "nftables" })
	n.within(10*time.Second, "the pod is checked", func() bool { return n.metric(`shunt_node_pods{namespace="found"}`) == 1 })
	time.Sleep(time.Second)
	n.mustBeCaptured("the node has another backend", pod)
	n.stop()
	n.mustBeCaptured("stopped again", pod)

	n.api.mu.Lock()
	n.api.gone = true
	n.api.mu.Unlock()
	n.start(n.api.kubeconfig(t), n.flags...)
	n.within(30*time.Second, "ready", n.ready)
	n.stop()
	n.mustBeCaptured("uninstalled, with a pod that runs", pod)

	n.flags[0] = "--backend=ebpf"
	n.begin()
	pod.Stop()
	n.stop() // the DaemonSet is still gone
	if left := n.pinned(); len(left) > 0 {
		t.Errorf("uninstalled, and no pod: %q is pinned", left)
	}

	n.api.mu.Lock()
	n.api.wish, n.api.gone = contract.UninstallRules, false
	n.api.mu.Unlock()
	n.pod(2)
	n.api.set(t, uid(1), false)
	n.api.set(t, uid(2), true)
	n.start(n.api.kubeconfig(t), n.flags...)
	n.within(10*time.Second, "uninstalled", func() bool { return n.api.annotation(t).Rules == contract.NodeRemoved })
	if left := n.pinned(); len(left) > 0 {
		t.Errorf("uninstalled with rules: %q is pinned", left)
	}
	n.stop()
}

// TestEBPFCannotWork has another backend stand in, and says why.
func TestEBPFCannotWork(t *testing.T) {
	n := newBPFNode(t)
	n.flags = []string{"--backend=ebpf", "--bpffs", n.dir, "--cgroups", "/sys/fs/cgroup"} // no bpffs there
	n.start(n.api.kubeconfig(t), n.flags...)
	n.within(30*time.Second, "ready", n.ready)
	n.within(5*time.Second, "the reason in the Node", func() bool { return n.api.annotation(t).Preferred == "ebpf" })
	says := n.api.annotation(t)
	if says.Backend != "nftables" || !strings.Contains(says.Reason, "mount -t bpf") || says.EBPF != nil {
		t.Errorf("the Node says %+v", says)
	}
	if v := n.metric("shunt_node_backend_stands_in"); v != 1 {
		t.Errorf("the metric says %v", v)
	}
	if !strings.Contains(n.conflist(), `"nftables"`) {
		t.Errorf("conflist %s", n.conflist())
	}
	n.stop()
}
