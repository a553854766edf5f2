// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCapture takes away, one after the other, what the node's capture is made
// of, while pods start. Whatever happens, no connection of theirs may go past
// their proxy, and none may be stuck once the fault is over. The mesh has to be
// installed with --capture=cni or --capture=ebpf.
func TestCapture(t *testing.T) {
	c := newCourt(t)
	t.Run("quiet", func(t *testing.T) {
		for _, s := range sights() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, c)
			})
		}
	})
	for _, s := range faults() {
		t.Run(s.name, func(t *testing.T) { s.run(t, c) })
	}
	c.verdict(t)
}

// scene is one of the tests that share a court.
type scene struct {
	name string
	run  func(*testing.T, *court)
}

// sights take nothing away from others, and are seen at once.
func sights() []scene {
	all := []scene{
		{"witness", testWitness},
		{"unprivileged", testUnprivileged},
		{"status", testNodeStatus},
		{"dead", testProxyDead},
	}
	if capture() == "ebpf" {
		all = append(all, scene{"own", testOwnNode})
	}
	return all
}

func faults() []scene {
	all := []scene{
		{"away", testAgentAway},
		{"frozen", testAgentFrozen},
		{"rollout", testAgentRollout},
		{"rewritten", testConflistRewritten},
		{"apiserver", testAPIServerAway},
		{"churn", testChurn},
		{"boot", testBoot},
		{"left", testNothingLeft},
		{"fresh", testFreshNode},
		{"reinstall", testReinstall},
	}
	if capture() == "ebpf" {
		all = append(all, scene{"killed", testAgentKilled}, scene{"replaced", testProgramsReplaced})
	}
	return all
}

// size is how much of a thing a test does: few in CI, whole with SHUNT_SOAK.
func size[T int | time.Duration](few, whole T) T {
	if os.Getenv("SHUNT_SOAK") == "" {
		return few
	}
	return whole
}

// again is how much of a thing CI does over one way where the other shows as
// much: few over ebpf, more over cni.
func again[T int | time.Duration](few, more T) T {
	if capture() == "ebpf" {
		return size(few, more)
	}
	return more
}

// pace is the gap between the pods of a fault that takes its time: two cores start
// about one in a second, and the fault is to go on beside.
const pace = 1200 * time.Millisecond

// afterwards is how long pods may take to be Ready once a fault is over. A
// container that has failed is tried again 10 s later at first, then 20 s.
const afterwards = time.Minute

// testWitness proves the judge: pods that nobody captures are found out, in both
// directions, also where they have a proxy.
func testWitness(t *testing.T, c *court) {
	defer c.end(t, "control")
	for namespace, annotations := range map[string]map[string]string{
		unwitnessed: nil, witnessed: {"shunt.dev/interception-mode": "none"},
	} {
		w, err := c.call(namespace, witnessPod("control", "n1", annotations))
		if err != nil {
			t.Fatal(err)
		}
		if w.captured {
			t.Fatalf("%s is captured", w.name)
		}
		eventually(t, time.Minute, func() string {
			if calls, dials := c.report(t).Pods[w.uid].Direct(); calls == 0 || dials == 0 {
				return fmt.Sprintf("%d calls and %d dials of %s/%s were found to go past a proxy, want some of each", calls, dials, namespace, w.name)
			}
			return ""
		})
		if calls, dials := c.report(t).Pods[w.uid].Proxied(); calls+dials > 0 {
			t.Errorf("%d calls and %d dials of %s/%s seem to have come through a proxy", calls, dials, namespace, w.name)
		}
	}
}

// testUnprivileged holds that no container of a captured pod may do anything that
// a user may not, by its manifest and by what the kernel says of its processes.
// That such pods start where Pod Security is restricted, every witness shows.
func testUnprivileged(t *testing.T, c *court) {
	witnesses := c.start(t, "unprivileged", "n2", 1, 0)
	defer c.end(t, "unprivileged")
	c.ready(t, "unprivileged", afterwards)
	for _, p := range c.pods(t, "unprivileged") {
		for _, container := range append(p.Spec.InitContainers, p.Spec.Containers...) {
			s := container.SecurityContext
			if len(s.Capabilities.Add) > 0 || s.Privileged || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
				t.Errorf("container %s: %+v", container.Name, s)
			}
		}
	}
	found := 0
	for _, words := range [][]string{{"proxy", "run"}, {"witness"}} {
		for _, pid := range processes(t, witnesses[0].uid, words...) {
			found++
			for _, line := range capabilities(t, pid) {
				if !strings.HasSuffix(line, "\t0000000000000000") {
					t.Errorf("%v: %s", words, line)
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("%d processes of the proxy and of the app, want one each", found)
	}
}

// testNodeStatus holds that shuntctl knows of both nodes, and says so to people.
func testNodeStatus(t *testing.T, _ *court) {
	out, err := command(time.Minute, "", shuntctl, "node", "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes() {
		found := false
		for _, line := range lines(out) {
			fields := strings.Fields(line)
			found = found || len(fields) > 2 && fields[0] == node && fields[2] == backend() && slices.Contains(fields, "installed")
		}
		if !found {
			t.Errorf("node %s is not there with its plugin and its backend:\n%s", node, out)
		}
	}
}

// testAgentAway starts pods while no agent runs and its socket has nobody behind
// it, as after an update to an image that can't be pulled.
func testAgentAway(t *testing.T, c *court) {
	back := takeAgentAway(t)
	defer back()
	witnesses := c.start(t, "away", "", size(12, 50), 100*time.Millisecond)
	defer c.end(t, "away")
	c.ready(t, "away", 2*time.Minute) // with no agent at all
	c.heard(t, witnesses)
	byPrograms(t, witnesses, "witness")
	for _, node := range nodes() {
		text, err := os.ReadFile(onNode(t, node, "/var/log/shunt-cni.log"))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(text), "away-") {
			t.Errorf("the plugin's log on %s does not tell of the pods that it captured:\n%s", node, text)
		}
	}
}

// testAgentFrozen compares how long pods take to start with an agent that runs
// and with one that is there and does not answer, in turns.
func testAgentFrozen(t *testing.T, c *court) {
	defer c.end(t, "frozen")
	uid := agentPod(t, "n1").Metadata.UID
	defer signal(t, syscall.SIGCONT, uid, "agent")
	took := map[bool][]time.Duration{}
	for turn := range size(3, 50) {
		for _, frozen := range []bool{turn%2 == 0, turn%2 != 0} {
			signal(t, map[bool]syscall.Signal{true: syscall.SIGSTOP, false: syscall.SIGCONT}[frozen], uid, "agent")
			w := c.start(t, "frozen", "n1", 1, 0)[0]
			took[frozen] = append(took[frozen], c.first(t, w).Sub(w.created))
		}
	}
	with, without := median(took[false]), median(took[true])
	figure("cni.pod_start_ms.agent", with.Milliseconds(), "ms")
	figure("cni.pod_start_ms.agent_frozen", without.Milliseconds(), "ms")
	// The kubelet looks once a second what has become of a container: medians of few
	// pods differ by as much. Who asks the agent in vain waits for two.
	if without > with+with/10+size(time.Second, 200*time.Millisecond) {
		t.Errorf("pods start within %v while the agent is frozen, %v otherwise: who waits for it?\n%v\n%v", without, with, took[true], took[false])
	}
}

// testAgentRollout starts pods while each agent is replaced by another.
func testAgentRollout(t *testing.T, c *court) {
	stop := c.flow(t, "rollout", size(10, 50), pace)
	kubectl(t, "-n", system, "rollout", "restart", "daemonset", agentSet)
	kubectl(t, "-n", system, "rollout", "status", "daemonset", agentSet, "--timeout=150s")
	witnesses := stop()
	c.ready(t, "rollout", afterwards)
	c.heard(t, witnesses)
	byPrograms(t, witnesses, "witness")
}
