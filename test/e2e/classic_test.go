// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// classicPod gets the proxy as an ordinary container. "early" calls another pod
// as its first act, and is started again and again; "app" calls after SIGTERM.
const classicPod = `
apiVersion: v1
kind: Pod
metadata:
  name: classic
  namespace: e2e-mesh
  annotations: {shunt.dev/native-sidecar: "false", shunt.dev/termination-delay: 4s}
  finalizers: [e2e.shunt.dev/look] # its last state is read
spec:
  terminationGracePeriodSeconds: 40
  containers:
  - {name: early, image: APP, command: [app, http, "http://echo.e2e-mesh/"]}
  - {name: app, image: APP, command: [app, last, -for, 2s, "http://echo.e2e-mesh/"]}
`

// classicState is what the kubelet says of it.
type classicState struct {
	Metadata struct {
		DeletionTimestamp          time.Time
		DeletionGracePeriodSeconds int
	}
	Spec   struct{ Containers []struct{ Name string } }
	Status struct{ ContainerStatuses []classicStatus }
}

type classicStatus struct {
	Name             string
	State, LastState struct {
		Running    *struct{ StartedAt time.Time }
		Terminated *struct {
			ExitCode   int
			FinishedAt time.Time
		}
	}
}

func (c classicState) container(name string) (found classicStatus) {
	for _, s := range c.Status.ContainerStatuses {
		if s.Name == name {
			return s
		}
	}
	return found
}

func classicNow(t *testing.T) classicState {
	t.Helper()
	return decode[classicState](t, kubectl(t, "-n", mesh, "get", "pod", "classic", "-o", "json"))
}

// classicWhen waits until the pod is as it should be.
func classicWhen(t *testing.T, is string, should func(classicState) bool) (now classicState) {
	t.Helper()
	complaint := within(90*time.Second, func() string {
		if now = classicNow(t); should(now) {
			return ""
		}
		return "the pod is not " + is
	})
	if complaint != "" {
		t.Fatalf("%s:\n%s", complaint, kubectl(t, "-n", mesh, "describe", "pod", "classic"))
	}
	return now
}

// testClassicOrder holds that a proxy that is an ordinary container does what a
// native sidecar does by itself: the application starts when the proxy is ready
// (proxy wait), and can call others while it ends (proxy drain --linger).
func testClassicOrder(t *testing.T) {
	apply(t, classicPod)
	t.Cleanup(func() {
		kubectl(t, "-n", mesh, "patch", "pod", "classic", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		kubectl(t, "-n", mesh, "delete", "pod", "classic", "--ignore-not-found", "--grace-period=1")
	})
	up := classicWhen(t, "up, with its first act behind it", func(c classicState) bool {
		early := c.container("early")
		return c.container("app").State.Running != nil && (early.State.Terminated != nil || early.LastState.Terminated != nil)
	})
	if up.Spec.Containers[0].Name != "shunt-proxy" {
		t.Errorf("the first container is %s, want the proxy: the kubelet starts them in order", up.Spec.Containers[0].Name)
	}
	first := up.container("early").LastState.Terminated
	if first == nil {
		first = up.container("early").State.Terminated
	}
	if first.ExitCode != 0 {
		t.Errorf("the application's first call failed: its container was started before the proxy was ready:\n%s",
			kubectl(t, "-n", mesh, "logs", "classic", "-c", "early"))
	}
	if n := proxied(t, mesh, "classic", "outbound", "http1"); n < 1 {
		t.Errorf("the proxy has counted %v calls", n)
	}

	kubectl(t, "-n", mesh, "delete", "pod", "classic", "--wait=false")
	deleted := classicNow(t) // at its end the kubelet writes another time
	down := classicWhen(t, "down", func(c classicState) bool {
		return c.container("app").State.Terminated != nil && c.container("shunt-proxy").State.Terminated != nil
	})
	app, proxy := down.container("app").State.Terminated, down.container("shunt-proxy").State.Terminated
	if app.ExitCode != 0 {
		t.Errorf("a call of the ending application failed, exit code %d", app.ExitCode)
	}
	if proxy.ExitCode != 0 {
		t.Errorf("the proxy's exit code is %d", proxy.ExitCode)
	}
	begun := deleted.Metadata.DeletionTimestamp.Add(-time.Duration(deleted.Metadata.DeletionGracePeriodSeconds) * time.Second)
	stayed := proxy.FinishedAt.Sub(begun)
	figure("webhook.classic_linger_s", stayed.Seconds(), "s")
	if stayed < 2*time.Second || stayed > 20*time.Second { // 4 s, in whole seconds of two clocks
		t.Errorf("the proxy ended %v after the deletion began, want about 4 s", stayed)
	}
}

// testMergedMetrics holds that a pod that asks for it is scraped at one port, for
// both its own metrics and the proxy's, and that the kubelet's and Prometheus' way
// there is not captured.
func testMergedMetrics(t *testing.T) {
	const pod = "merged"
	apply(t, strings.Replace(barePod(pod, mesh, `{shunt.dev/merge-metrics: "true", prometheus.io/scrape: "true", prometheus.io/port: "7070"}`), "sleep", "serve", 1))
	defer kubectl(t, "-n", mesh, "delete", "pod", pod)
	kubectl(t, "-n", mesh, "wait", "pod", pod, "--for=condition=Ready", "--timeout=60s")
	where := kubectl(t, "-n", mesh, "get", "pod", pod, "-o", `jsonpath={.metadata.annotations.prometheus\.io/port}{.metadata.annotations.prometheus\.io/path}`)
	if where != "15020/stats/prometheus" {
		t.Fatalf("scrapers are sent to %q", where)
	}
	// 7070 is open on loopback alone: the proxy reaches it, others don't.
	text := in(t, plain, "client", "app", "http", "http://"+podIP(t, mesh, pod)+":"+where)
	for _, want := range []string{`app_answers{pod="merged"} 1`, "shunt_proxy_state 0", "shunt_proxy_app_metrics_up 1"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
