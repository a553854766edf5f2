// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestProbes holds that every kind of probe and hook works while all traffic of
// the pod is captured: by named port and by number, of the app and of a sidecar
// of its own. No probe may fail once, no container be restarted, and the
// kubelet's requests do pass the proxy.
func TestProbes(t *testing.T) {
	manifest, err := os.ReadFile("testdata/probes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(manifest))
	kubectl(t, "-n", mesh, "wait", "pod", "probes", "--for=condition=Ready", "--timeout=90s")
	before := proxied(t, mesh, "probes", "inbound", "")
	time.Sleep(5 * time.Second) // each probe runs each second
	if after := proxied(t, mesh, "probes", "inbound", ""); after < before+5 {
		t.Errorf("the proxy carried %v requests of probes in 5 s, want at least one a second", after-before)
	}
	ready := kubectl(t, "-n", mesh, "get", "pod", "probes", "-o", `jsonpath={.status.containerStatuses[*].ready} {.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount}`)
	if strings.ContainsAny(ready, "123456789") || strings.Contains(ready, "false") {
		t.Errorf("ready, restarts: %s", ready)
	}
	// Before a server listens its startup probe fails, as it does without us.
	for _, event := range eventsOf(t, "probes") {
		if strings.HasPrefix(event, "Unhealthy") && !strings.Contains(event, "Startup probe") {
			t.Error(event)
		}
	}
	kubectl(t, "-n", mesh, "delete", "pod", "probes", "--timeout=60s")
	for _, event := range eventsOf(t, "probes") {
		if strings.Contains(event, "Hook") {
			t.Error(event)
		}
	}
}

func eventsOf(t *testing.T, pod string) []string {
	t.Helper()
	return lines(kubectl(t, "-n", mesh, "get", "events", "--field-selector=involvedObject.name="+pod,
		"-o", `jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}`))
}
