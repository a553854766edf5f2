// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// tally is a plain TCP service outside the mesh that asks to be balanced at
// connect, and one that asks for it in vain.
const tally = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: tally, namespace: e2e-plain}
spec:
  replicas: 3
  selector: {matchLabels: {app: tally}}
  template:
    metadata: {labels: {app: tally}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: app, image: APP, command: [app, serve], readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: tally, namespace: e2e-plain, annotations: {shunt.dev/balance: connect}}
spec:
  selector: {app: tally}
  ports: [{name: line, port: 9100, targetPort: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: tally-http, namespace: e2e-plain, annotations: {shunt.dev/balance: connect}}
spec:
  selector: {app: tally}
  ports: [{name: http, port: 80, targetPort: 8080}]
`

const tallyService = "tally." + plain + ":9100"

// tallied is a connection of "app hold".
type tallied struct {
	Pod, Peer, Local, Seen string
	Ended                  bool
}

func hold(n int, keep time.Duration) ([]tallied, error) {
	out, err := tryIn(mesh, "client", "app", "hold", fmt.Sprintf("-n=%d", n), "-for="+keep.String(), tallyService)
	if err != nil {
		return nil, err
	}
	var all []tallied
	for _, line := range lines(out) {
		var h tallied
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		all = append(all, h)
	}
	return all, nil
}

// TestBalance holds that a Service which asks to be balanced at connect is: past
// the proxy where eBPF captures, and by the proxy as ever where it doesn't. The
// application can't tell the difference.
func TestBalance(t *testing.T) {
	apply(t, tally)
	t.Cleanup(func() {
		kubectl(t, "-n", plain, "delete", "deployment/tally", "service/tally", "service/tally-http", "--wait=false")
	})
	kubectl(t, "-n", plain, "rollout", "status", "deployment/tally", "--timeout=120s")
	past := capture() == "ebpf"
	eventually(t, 30*time.Second, func() string { return passing(t, past) })
	t.Run("spread", func(t *testing.T) { testBalanceSpread(t, past) })
	t.Run("an endpoint is deleted", testBalanceDeleted)
	t.Run("an endpoint leaves", func(t *testing.T) { testBalanceLeaves(t, past) })
	t.Run("asked for in vain", testBalanceRefused)
}

// passing complains unless connections go past the proxy, or through it.
func passing(t *testing.T, past bool) string {
	before := proxied(t, mesh, "client", "outbound", "tcp")
	all, err := hold(5, 0)
	if err != nil {
		return err.Error()
	}
	counted := proxied(t, mesh, "client", "outbound", "tcp") - before
	if past && counted != 0 || !past && counted < 5 {
		return fmt.Sprintf("of 5 connections the proxy counted %v; past it: %v", counted, past)
	}
	for _, h := range all {
		if past != (h.Local == h.Seen) {
			return fmt.Sprintf("a connection from %s is seen from %s; past the proxy: %v", h.Local, h.Seen, past)
		}
	}
	return ""
}

func testBalanceSpread(t *testing.T, past bool) {
	const n = 90
	all, err := hold(n, 0)
	if err != nil {
		t.Fatal(err)
	}
	vip := kubectl(t, "-n", plain, "get", "service", "tally", "-o", "jsonpath={.spec.clusterIP}")
	own := podIP(t, mesh, "client")
	pods := map[string]int{}
	for _, h := range all {
		pods[h.Pod]++
		if want := net.JoinHostPort(vip, "9100"); h.Peer != want {
			t.Errorf("the application is connected to %s, want %s", h.Peer, want)
		}
		if host, _, _ := net.SplitHostPort(h.Local); host != own {
			t.Errorf("the application is connected from %s, want %s", h.Local, own)
		}
	}
	if len(pods) != 3 {
		t.Errorf("%d connections reached %v, want three pods", n, pods)
	}
	if complaint := passing(t, past); complaint != "" {
		t.Error(complaint)
	}
}

// broken holds connections while something happens to a pod. It returns those of
// the pod, how many of them the other side has ended, and how many of others.
func broken(t *testing.T, pod string, happen func()) (mine, ended, others int) {
	t.Helper()
	type result struct {
		all []tallied
		err error
	}
	done := make(chan result, 1)
	go func() {
		all, err := hold(30, 15*time.Second)
		done <- result{all, err}
	}()
	time.Sleep(3 * time.Second)
	happen()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	for _, h := range r.all {
		switch {
		case h.Ended && h.Pod == pod:
			ended++
		case h.Ended:
			others++
		case h.Pod == pod:
			mine++
		}
	}
	if mine == 0 {
		t.Fatalf("none of 30 connections was to %s", pod)
	}
	return mine, ended, others
}

// elsewhere fails where a new connection still goes to the pod.
func elsewhere(t *testing.T, pod string) {
	t.Helper()
	all, err := hold(30, 0)
	if err != nil {
		t.Errorf("a new connection: %v", err)
	}
	for _, h := range all {
		if h.Pod == pod {
			t.Errorf("a new connection went to %s", pod)
			return
		}
	}
}

func testBalanceDeleted(t *testing.T) {
	pod := podsOf(t, plain, "app=tally")[0]
	mine, ended, others := broken(t, pod, func() {
		kubectl(t, "-n", plain, "delete", "pod", pod, "--wait=true")
		elsewhere(t, pod)
	})
	if ended != mine || others != 0 {
		t.Errorf("of %d connections to a pod that was deleted %d ended, and %d to others; want all and none", mine, ended, others)
	}
	kubectl(t, "-n", plain, "rollout", "status", "deployment/tally", "--timeout=120s")
}

// The pod is well and keeps its connections; only it is no endpoint any more.
func testBalanceLeaves(t *testing.T, past bool) {
	var pod string
	eventually(t, 20*time.Second, func() string {
		pods := podsOf(t, plain, "app=tally")
		if len(pods) != 3 {
			return fmt.Sprintf("there are %q", pods)
		}
		pod = pods[0]
		return ""
	})
	mine, ended, others := broken(t, pod, func() {
		kubectl(t, "-n", plain, "label", "pod", pod, "app=left", "--overwrite")
		time.Sleep(2 * time.Second)
		elsewhere(t, pod)
	})
	t.Cleanup(func() { kubectl(t, "-n", plain, "delete", "pod", pod, "--wait=false") })
	if past && ended != mine || others != 0 {
		t.Errorf("of %d connections to a pod that left %d ended, and %d to others; want all and none", mine, ended, others)
	}
}

func testBalanceRefused(t *testing.T) {
	eventually(t, 20*time.Second, func() string {
		said := kubectl(t, "-n", plain, "get", "events", "--field-selector=reason=BalanceRefused,involvedObject.name=tally-http", "-o", "jsonpath={.items[*].message}")
		if want := `shunt.dev/balance: connect is not possible: port 80: name is "http"`; !strings.Contains(said, want) {
			return fmt.Sprintf("the Events say %q, want %q", said, want)
		}
		return ""
	})
	if got := ask(t, mesh, "client", "app", "http", "http://tally-http."+plain+"/"); !strings.HasPrefix(got.Pod, "tally-") {
		t.Errorf("answered by %q, want one of tally's", got.Pod)
	}
}
