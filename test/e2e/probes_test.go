// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// testProbes holds that every kind of probe and hook works while all traffic of
// the pod is captured: by named port and by number, of the app and of a sidecar
// of its own. No probe may fail once, no container be restarted, and the
// kubelet's requests do pass the proxy.
func testProbes(t *testing.T) {
	manifest, err := os.ReadFile("testdata/probes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(manifest))
	kubectl(t, "-n", mesh, "wait", "pod", "probes", "--for=condition=Ready", "--timeout=90s")
	uid := uidOf(t, mesh, "probes")
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
	for _, event := range eventsOf(t, uid) {
		if strings.HasPrefix(event, "Unhealthy") && !strings.Contains(event, "Startup probe") {
			t.Error(event)
		}
	}
	kubectl(t, "-n", mesh, "delete", "pod", "probes", "--timeout=60s")
	for _, event := range eventsOf(t, uid) {
		if strings.Contains(event, "Hook") {
			t.Error(event)
		}
	}
}

// testTCPProbes holds that a probe that does nothing but connect tells whether
// somebody listens: it fails until the app does, and for ever where the app
// listens at loopback alone, with the words that it has without us.
func testTCPProbes(t *testing.T) {
	manifest, err := os.ReadFile("testdata/probes-tcp.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, string(manifest))
	uid := uidOf(t, mesh, "probes-tcp")
	status := func(field string) string {
		return kubectl(t, "-n", mesh, "get", "pod", "probes-tcp", "-o", `jsonpath={.status.containerStatuses[?(@.name=="late")].`+field+`}`)
	}
	complaint := within(90*time.Second, func() string {
		if status("ready") != "true" {
			return "the app that listens late is not ready"
		}
		return ""
	})
	if complaint != "" {
		t.Fatalf("%s: %q", complaint, eventsOf(t, uid))
	}
	began, err := time.Parse(time.RFC3339, status("state.running.startedAt"))
	if took := time.Since(began); err != nil || took < 15*time.Second {
		t.Errorf("ready %v after its start, %v; want it when the app listens, after 15 s", took, err)
	}
	if ready := kubectl(t, "-n", mesh, "get", "pod", "probes-tcp", "-o", `jsonpath={.status.containerStatuses[?(@.name=="inward")].ready}`); ready != "false" {
		t.Errorf("a probe of a port that is open at loopback alone: ready %s", ready)
	}
	events := strings.Join(eventsOf(t, uid), "\n")
	for _, port := range []string{":9000", ":7070"} {
		if want := port + ": connect: connection refused"; !strings.Contains(events, want) {
			t.Errorf("no event says %q:\n%s", want, events)
		}
	}
	kubectl(t, "-n", mesh, "delete", "pod", "probes-tcp", "--timeout=60s")
}

// eventsOf lists the Events of one pod, and not of an earlier one of its name.
func eventsOf(t *testing.T, uid string) []string {
	t.Helper()
	return lines(kubectl(t, "-n", mesh, "get", "events", "--field-selector=involvedObject.uid="+uid,
		"-o", `jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}`))
}
