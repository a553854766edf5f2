// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os/exec"
	"testing"
	"time"
)

// The outside host is a network namespace that the test cluster makes on its
// bridge, beside the nodes and known to nobody in the cluster.
const (
	outsideNamespace = "shunt-out"
	outsideIP        = "172.30.0.100"
)

// newOutsideHost starts the app's servers on a host outside the cluster and
// returns its address.
func newOutsideHost(t *testing.T) string {
	t.Helper()
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
