// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// testAgentKilled kills the agents while pods start: what they have loaded is the
// node's, and stays.
func testAgentKilled(t *testing.T, c *court) {
	stop := c.flow(t, "killed", size(10, 50), pace)
	uids := map[string]string{}
	for _, node := range nodes() {
		uids[node] = agentPod(t, node).Metadata.UID
	}
	for range size(1, 3) {
		for node, uid := range uids {
			before := programs(t, node)
			eventually(t, 2*time.Minute, func() string { // the kubelet lets who died twice wait
				if len(processes(t, uid, "agent")) == 0 {
					return "the agent of " + node + " does not come back"
				}
				return ""
			})
			signal(t, syscall.SIGKILL, uid, "agent")
			if after := programs(t, node); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("programs of %s: %v after its agent was killed, %v before", node, after, before)
			}
		}
		kubectl(t, "-n", system, "rollout", "status", "daemonset", agentSet, "--timeout=120s")
	}
	witnesses := stop()
	c.ready(t, "killed", afterwards)
	c.heard(t, witnesses)
	byPrograms(t, witnesses, "witness")
}

// testProgramsReplaced has agents of another version come and go while pods start.
// Each puts its own programs in the place of those that it finds.
func testProgramsReplaced(t *testing.T, c *court) {
	stop := c.flow(t, "replaced", size(10, 50), pace)
	ours := tags(t)
	image := runAgent(t, os.Getenv("SHUNT_E2E_OTHER_AGENT"))
	theirs := tags(t)
	runAgent(t, image)
	again := tags(t)
	witnesses := stop()
	for name, tag := range ours {
		if theirs[name] == tag {
			t.Errorf("%s is the same with the other version's agent", name)
		}
		if again[name] != tag {
			t.Errorf("%s is %s with our agent again, was %s", name, again[name], tag)
		}
	}
	c.ready(t, "replaced", afterwards)
	c.heard(t, witnesses)
	byPrograms(t, witnesses, "witness")
}

// tags tells the version of each node's programs.
func tags(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, node := range nodes() {
		for _, p := range programs(t, node) {
			all[p.name+" of "+node] = p.tag
		}
	}
	if len(all) == 0 {
		t.Fatal("no program is attached on any node")
	}
	return all
}

// runAgent has the DaemonSet run another image of the agent, and returns which it
// ran.
func runAgent(t *testing.T, image string) (before string) {
	t.Helper()
	before = kubectl(t, "-n", system, "get", "daemonset", agentSet, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	kubectl(t, "-n", system, "set", "image", "daemonset/"+agentSet, "agent="+image)
	kubectl(t, "-n", system, "rollout", "status", "daemonset", agentSet, "--timeout=150s")
	return before
}
