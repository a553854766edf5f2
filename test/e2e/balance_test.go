// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"slices"
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

// TestBalance holds that a Service which asks to be balanced at connect is: past
// the proxy where eBPF captures, and by the proxy as ever where it doesn't. The
// application can't tell the difference.
func TestBalance(t *testing.T) {
	apply(t, tally)
	t.Cleanup(func() {
		kubectl(t, "-n", plain, "delete", "deployment/tally", "service/tally", "service/tally-http", "--wait=false")
	})
	settled(t)
	past := capture() == "ebpf"
	eventually(t, 30*time.Second, func() string { return passing(t, past) })
	t.Run("spread", func(t *testing.T) { testBalanceSpread(t, past) })
	t.Run("an endpoint is deleted", testBalanceDeleted)
	t.Run("an endpoint leaves", func(t *testing.T) { testBalanceLeaves(t, past) })
	t.Run("asked for in vain", testBalanceRefused)
}

// propagation bounds how long after Kubernetes a client's node or proxy may go by
// what it says.
const propagation = 2 * time.Second

// settled waits until the service has three endpoints, which Kubernetes' own
// controller can write a second after the pods are ready, and connections reach
// them. It returns one.
func settled(t *testing.T) (pod string) {
	t.Helper()
	kubectl(t, "-n", plain, "rollout", "status", "deployment/tally", "--timeout=120s")
	var want []string
	eventually(t, 20*time.Second, func() string {
		if want = endpoints(t); len(want) != 3 {
			return fmt.Sprintf("the endpoints of tally are %q, want three", want)
		}
		return ""
	})
	eventually(t, propagation, func() string {
		got, err := reached()
		if err != nil || !slices.Equal(got, want) {
			return fmt.Sprintf("connections reached %q, %v; want %q", got, err, want)
		}
		return ""
	})
	return want[0]
}

// without waits until Kubernetes says that the pod is no endpoint, and new
// connections go elsewhere.
func without(t *testing.T, pod string) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		if ready := endpoints(t); slices.Contains(ready, pod) {
			return fmt.Sprintf("the endpoints of tally are %q", ready)
		}
		return ""
	})
	eventually(t, propagation, func() string {
		got, err := reached()
		if err != nil || slices.Contains(got, pod) {
			return fmt.Sprintf("connections reached %q, %v; want none to %s", got, err, pod)
		}
		return ""
	})
}

// reached names the pods that a few connections were to, in order.
func reached() ([]string, error) {
	all, err := dial(30, tallyService)
	pods := map[string]bool{}
	for _, one := range all {
		pods[one.Pod] = true
	}
	return slices.Sorted(maps.Keys(pods)), err
}

// endpoints names the pods that are ready endpoints of the service, in order.
func endpoints(t *testing.T) []string {
	t.Helper()
	ready := strings.Fields(kubectl(t, "-n", plain, "get", "endpointslices", "-l", "kubernetes.io/service-name=tally",
		"-o", `jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.targetRef.name}{" "}{end}`))
	slices.Sort(ready)
	return ready
}

// passing complains unless connections go past the proxy, or through it.
func passing(t *testing.T, past bool) string {
	before := proxied(t, mesh, "client", "outbound", "tcp")
	all, err := dial(5, tallyService)
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
	all, err := dial(n, tallyService)
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

// broken holds connections while something happens to a pod. It returns how many
// of them were to the pod, how many of those the other side has ended, and of
// others.
func broken(t *testing.T, pod string, happen func()) (mine, ended, others int) {
	t.Helper()
	const n = 30
	gone := hold(t, n, tallyService, func(open []tallied) {
		for _, one := range open {
			if one.Pod == pod {
				mine++
			}
		}
		if mine == 0 {
			t.Fatalf("none of %d connections was to %s", n, pod)
		}
		happen()
		time.Sleep(time.Second) // for what should not end
	})
	for _, one := range gone {
		if one.Pod == pod {
			ended++
		} else {
			others++
		}
	}
	return mine, ended, others
}

func testBalanceDeleted(t *testing.T) {
	pod := settled(t)
	mine, ended, others := broken(t, pod, func() {
		kubectl(t, "-n", plain, "delete", "pod", pod, "--wait=true")
		without(t, pod)
	})
	if ended != mine || others != 0 {
		t.Errorf("of %d connections to a pod that was deleted %d ended, and %d to others; want all and none", mine, ended, others)
	}
}

// The pod is well and keeps its connections; only it is no endpoint any more.
func testBalanceLeaves(t *testing.T, past bool) {
	pod := settled(t)
	mine, ended, others := broken(t, pod, func() {
		kubectl(t, "-n", plain, "label", "pod", pod, "app=left", "--overwrite")
		t.Cleanup(func() { kubectl(t, "-n", plain, "delete", "pod", pod, "--wait=false") })
		without(t, pod)
	})
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
