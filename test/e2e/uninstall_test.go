// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"os"
	"strings"
	"testing"
	"time"
)

const shuntctl = "../../bin/shuntctl"

// capture is the way to capture pods that these tests run over.
func capture() string { return cmp.Or(os.Getenv("SHUNT_CAPTURE"), "init") }

// install installs Shunt with that way.
func install(t *testing.T) {
	t.Helper()
	if _, err := command(4*time.Minute, "", shuntctl, "install", "--capture="+capture()); err != nil {
		t.Error(err)
	}
}

// TestUninstall removes Shunt under running traffic: nothing of it stays but
// the sidecars of pods that run, and those go on passing calls. Then it puts
// Shunt back, for whoever looks at the cluster next.
func TestUninstall(t *testing.T) {
	out, err := command(3*time.Minute, "", shuntctl, "uninstall")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		install(t)
	})
	if !strings.Contains(out, mesh) {
		t.Errorf("uninstall printed %q, which doesn't name namespace %s whose pods keep a sidecar", out, mesh)
	}
	left := kubectl(t, "get", "namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations", "-o", "name")
	for _, name := range lines(left) {
		if strings.Contains(name, "/shunt-") && !strings.Contains(name, "/shunt-demo") {
			t.Errorf("%s is still there", name)
		}
	}
	pods := decode[map[string]int](t, in(t, mesh, "client", "app", "grpc", "-n", "300", "echo:50051"))
	if err := even(pods, 3, 300); err != nil {
		t.Errorf("a sidecar without its control plane: %v", err)
	}
	apply(t, barePod("unmeshed", mesh, "{}"))
	defer kubectl(t, "-n", mesh, "delete", "pod", "unmeshed")
	kubectl(t, "-n", mesh, "wait", "pod", "unmeshed", "--for=condition=Ready", "--timeout=60s")
	if names := kubectl(t, "-n", mesh, "get", "pod", "unmeshed", "-o", "jsonpath={.spec.initContainers[*].name}"); names != "" {
		t.Errorf("a new pod has init containers %q, want none", names)
	}
}
