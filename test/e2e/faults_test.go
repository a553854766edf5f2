// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// window is one line of `app load`: what happened in 100 ms.
type window struct {
	At     time.Time
	Calls  map[string]int
	Errors map[string]int
}

// loadRate is how many calls a second startLoad makes.
const loadRate = 500

// enough is how many answers prove that the load went on: a pod that ends and a
// machine that is busy cost some.
func enough(length time.Duration) int { return int(length.Seconds()) * loadRate * 2 / 3 }

// startLoad calls echo from the mesh's client, and returns a function that waits
// for the end and gives every window.
func startLoad(t *testing.T, length time.Duration) func() []window {
	t.Helper()
	cmd := exec.Command("kubectl", "-n", mesh, "exec", "client", "-c", "app", "--",
		"app", "load", "-rate", strconv.Itoa(loadRate), "-for", length.String(), "echo:50051")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() []window {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("load: %v: %s", err, stderr.String())
			}
		case <-time.After(length + 60*time.Second):
			t.Fatal("load did not end")
		}
		var windows []window
		decoder := json.NewDecoder(strings.NewReader(stdout.String()))
		for decoder.More() {
			var w window
			if err := decoder.Decode(&w); err != nil {
				t.Fatal(err)
			}
			windows = append(windows, w)
		}
		return windows
	}
}

func totals(windows []window) (calls, failed int, reasons map[string]int) {
	reasons = map[string]int{}
	for _, w := range windows {
		for _, n := range w.Calls {
			calls += n
		}
		for reason, n := range w.Errors {
			failed += n
			reasons[reason] += n
		}
	}
	return calls, failed, reasons
}

// TestDiscoveryAway takes discovery away under load, kills an endpoint and starts
// a pod in that time.
func TestDiscoveryAway(t *testing.T) {
	away := size(15*time.Second, time.Minute)
	length := away + 8*time.Second // it takes a few to go
	wait := startLoad(t, length)
	time.Sleep(2 * time.Second)
	scale(t, "shunt-discovery", 0)
	defer scale(t, "shunt-discovery", 2)
	since := time.Now()

	victim := podsOf(t, mesh, "app=echo")[0]
	kubectl(t, "-n", mesh, "delete", "pod", victim, "--force", "--grace-period=0")
	apply(t, barePod("born-alone", mesh, "{}"))
	defer kubectl(t, "-n", mesh, "delete", "pod", "born-alone")
	kubectl(t, "-n", mesh, "wait", "pod", "born-alone", "--for=condition=Ready", "--timeout=50s")

	time.Sleep(time.Until(since.Add(away)))
	calls, failed, reasons := totals(wait())
	figure("e2e.discovery_away.calls", calls, "calls")
	figure("e2e.discovery_away.failed", failed, "calls")
	if calls < enough(length) {
		t.Errorf("%d calls answered in %v at %d/s", calls, length, loadRate)
	}
	// One client, sequential arrivals at 500/s of about a millisecond each: no
	// more than a handful can have been in flight on the pod that was killed.
	if failed > 5 {
		t.Errorf("%d calls failed; only those in flight on the killed pod may: %v", failed, reasons)
	}
}

// restartLimit is how long a pod may be without its own proxy. We aim at a
// second, and seven runs took 0.5 to 1.1 s: the kubelet looks once a second which
// containers are gone, and starting one takes it 0.1 to 0.5 s. The figure is
// printed; the bound, above the aim, is what a busy machine keeps. A second kill
// within ten minutes meets the kubelet's back-off and takes 15 s.
const restartLimit = 3 * time.Second

// TestProxyKilled kills the client's proxy: new calls fail until the kubelet has
// started it again.
func TestProxyKilled(t *testing.T) {
	wait := startLoad(t, 3*restartLimit)
	time.Sleep(2 * time.Second)
	killProxy(t, mesh, "client")
	windows := wait()
	var first, last time.Time
	for _, w := range windows {
		if len(w.Errors) == 0 {
			continue
		}
		if first.IsZero() {
			first = w.At.Add(-100 * time.Millisecond)
		}
		last = w.At
	}
	_, failed, reasons := totals(windows)
	if failed == 0 {
		t.Error("no call failed: was the proxy killed at all?")
	}
	outage := last.Sub(first)
	figure("e2e.proxy_killed.outage_seconds", outage.Seconds(), "s")
	if outage > restartLimit {
		t.Errorf("calls failed for %s, want at most %s: %v", outage, restartLimit, reasons)
	}
}

// TestServerProxyKilled kills the proxy of one of three servers: the clients'
// proxies send new calls to the others at once, so only those fail that were in
// flight on it.
func TestServerProxyKilled(t *testing.T) {
	const length = 7 * time.Second
	wait := startLoad(t, length)
	time.Sleep(2 * time.Second)
	killProxy(t, mesh, podsOf(t, mesh, "app=echo")[0])
	calls, failed, reasons := totals(wait())
	figure("e2e.server_proxy_killed.failed", failed, "calls")
	if calls < enough(length) || failed > 5 {
		t.Errorf("%d calls answered, %d failed: %v", calls, failed, reasons)
	}
}

// killProxy ends the process `proxy run` of one pod.
func killProxy(t *testing.T, namespace, pod string) {
	t.Helper()
	signal(t, syscall.SIGKILL, uidOf(t, namespace, pod), "proxy", "run")
}
