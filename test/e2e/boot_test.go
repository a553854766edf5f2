// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testBoot cuts a node's power, twice: as it is, and after another installer has
// written the conflist while our agent could do nothing about it. Then pods start
// without rules before the agent does. What eBPF adds shows the first time: the
// plugin is there, and the programs are not.
func testBoot(t *testing.T, c *court) {
	witnesses := c.start(t, "boot", "n2", size(6, 25), 0)
	defer c.end(t, "boot")
	c.ready(t, "boot", 2*time.Minute)
	for _, bare := range []bool{false, true}[:again(1, 2)] {
		before := lives(c.report(t), witnesses)
		if bare {
			signal(t, syscall.SIGSTOP, agentPod(t, "n2").Metadata.UID, "agent")
			rewrite(t, "n2", withoutUs(t, "n2"), true)
		}
		cluster(t, "reboot", "n2")
		c.reborn(t, witnesses, before, 2*time.Minute)
		c.ready(t, "boot", afterwards)
		c.heard(t, witnesses)
	}
	if !chained(t, "n2") {
		t.Error("the plugin is not back in the conflist of n2")
	}
}

// testFreshNode starts pods on nodes that have never had an agent, lets them
// wait, and then has the agent come.
func testFreshNode(t *testing.T, c *court) {
	kubectl(t, "-n", system, "delete", "daemonset", agentSet, "--timeout=90s")
	kubectl(t, "-n", system, "wait", "pod", "-l", "app.kubernetes.io/name="+agentSet, "--for=delete", "--timeout=90s")
	back := sync.OnceFunc(func() { install(t) })
	defer back()
	awaitInstalled(t, "chained false, binary false")
	witnesses := c.start(t, "fresh", "", size(8, 25), 0)
	defer c.end(t, "fresh")
	time.Sleep(size(5*time.Second, time.Minute))
	for _, p := range c.pods(t, "fresh") {
		if p.Status.Phase != "Pending" || isReady(p) {
			t.Errorf("%s is %s on a node that captures nothing\n%s", p.Metadata.Name, p.Status.Phase, c.why(p.Metadata.Name))
		}
	}
	back()
	c.ready(t, "fresh", afterwards)
	c.heard(t, witnesses)
	awaitInstalled(t, "chained true, binary true")
	repaired := kubectl(t, "-n", witnessed, "get", "events", "--field-selector=reason=CaptureRepaired", "-o", `jsonpath={range .items[*]}{.involvedObject.uid}{"\n"}{end}`)
	for _, w := range witnesses {
		if !strings.Contains(repaired, w.uid) {
			t.Errorf("no event tells that %s was repaired", w.name)
		}
	}
}

// testReinstall removes Shunt while pods start, and puts it back. What ran goes
// on, what starts in between either is no pod of the mesh or waits.
func testReinstall(t *testing.T, c *court) {
	older := c.start(t, "older", "", 4, 0)
	defer c.end(t, "older")
	c.ready(t, "older", 2*time.Minute)
	stop := c.flow(t, "reinstall", size(10, 50), pace)
	if _, err := command(3*time.Minute, "", shuntctl, "uninstall"); err != nil {
		t.Error(err)
	}
	stop()
	awaitInstalled(t, "chained false, binary false")
	before := c.report(t)
	time.Sleep(3 * time.Second)
	after := c.report(t)
	for _, w := range older {
		if _, was := before.Pods[w.uid].Proxied(); was > 0 {
			if _, is := after.Pods[w.uid].Proxied(); is <= was {
				t.Errorf("%s: its proxy has passed nothing on since Shunt was removed", w.name)
			}
		}
	}
	install(t)
	newer := c.start(t, "reinstall", "", 4, 0)
	c.ready(t, "reinstall", afterwards)
	c.heard(t, newer)
}

// testAPIServerAway takes the API server away and breaks pods meanwhile: their
// containers, and their sandboxes, which the kubelet makes anew, plugin and all.
func testAPIServerAway(t *testing.T, c *court) {
	witnesses := c.start(t, "apiserver", "", size(8, 25), 0)
	defer c.end(t, "apiserver")
	c.ready(t, "apiserver", 2*time.Minute)
	before := lives(c.heard(t, witnesses), witnesses)
	cluster(t, "stop", "cp", "kube-apiserver")
	started := sync.OnceFunc(func() { cluster(t, "start", "cp", "kube-apiserver") })
	defer started()
	away := time.Now()
	for i, w := range witnesses {
		if i%4 == 0 {
			signal(t, syscall.SIGKILL, w.uid, "witness")
			continue
		}
		signal(t, syscall.SIGKILL, w.uid, "pause")
	}
	c.reborn(t, witnesses, before, 2*time.Minute) // with no API server at all
	figure("cni.reborn_without_api_s", time.Since(away).Seconds(), "s")
	time.Sleep(time.Until(away.Add(size(10*time.Second, time.Minute))))
	started()
	eventually(t, time.Minute, func() string {
		if _, err := command(10*time.Second, "", "kubectl", "get", "--raw=/readyz"); err != nil {
			return err.Error()
		}
		return ""
	})
	c.ready(t, "apiserver", afterwards)
	c.heard(t, witnesses)
}
