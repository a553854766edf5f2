// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The outside host is a network namespace on the cluster's bridge, beside the
// nodes and known to nobody in the cluster.
const (
	outsideNamespace = "shunt-e2e-out"
	outsideLink      = "shunt-e2e-out"
	outsideIP        = "172.30.0.200"
	clusterBridge    = "shunt-br0"
)

// newOutsideHost starts the app's servers on a host outside the cluster and
// returns its address.
func newOutsideHost(t *testing.T) string {
	t.Helper()
	run := func(args ...string) {
		t.Helper()
		if _, err := command(10*time.Second, "", args[0], args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = command(10*time.Second, "", "ip", "netns", "delete", outsideNamespace) })
	run("ip", "netns", "add", outsideNamespace)
	run("ip", "link", "add", outsideLink, "type", "veth", "peer", "name", "eth0", "netns", outsideNamespace)
	run("ip", "link", "set", outsideLink, "master", clusterBridge, "up")
	run("ip", "-n", outsideNamespace, "address", "add", outsideIP+"/24", "dev", "eth0")
	run("ip", "-n", outsideNamespace, "link", "set", "eth0", "up")
	run("ip", "-n", outsideNamespace, "link", "set", "lo", "up")
	nodes := strings.Fields(kubectl(t, "get", "nodes", "-o", `jsonpath={range .items[*]}{.spec.podCIDR}={.status.addresses[0].address} {end}`))
	for _, node := range nodes {
		cidr, via, _ := strings.Cut(node, "=")
		run("ip", "-n", outsideNamespace, "route", "add", cidr, "via", via)
	}
	server := exec.Command("ip", "netns", "exec", outsideNamespace, "env", "POD_NAME=outside", "../../bin/e2e/app", "serve")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	time.Sleep(300 * time.Millisecond)
	return outsideIP
}
