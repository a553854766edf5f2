// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestReach holds that what worked before injection works after it, from an
// injected pod, and that it arrived at exactly the pod that was meant.
func TestReach(t *testing.T) {
	outside := newOutsideHost(t)
	plainIP := podIP(t, plain, "client")
	tests := []struct {
		name string
		args []string
		pod  string // the pod that must have answered; "" means any of echo's
	}{
		{"HTTP to a Service", []string{"app", "http", "http://echo/"}, ""},
		{"TLS to a Service", []string{"app", "http", "https://echo/"}, ""},
		{"TCP, client first, to a Service", []string{"app", "tcp", "echo:9000"}, ""},
		{"TLS to an outside host", []string{"app", "http", "https://" + outside + ":8443/"}, "outside"},
		{"HTTP to an outside host", []string{"app", "http", "http://" + outside + ":8080/"}, "outside"},
		{"ExternalName", []string{"app", "http", "http://elsewhere/"}, "client"},
		{"StatefulSet peer 0", []string{"app", "http", "http://peer-0.peer:8080/"}, "peer-0"},
		{"StatefulSet peer 1", []string{"app", "http", "http://peer-1.peer:8080/"}, "peer-1"},
		{"StatefulSet peer 1 over TCP", []string{"app", "tcp", "peer-1.peer:9000"}, "peer-1"},
		{"pod IP outside the mesh", []string{"app", "http", "http://" + plainIP + ":8080/"}, "client"},
		// The short name is the pod's own, in /etc/hosts, and no Service.
		{"itself by Service", []string{"app", "http", "http://client.e2e-mesh/"}, "client"},
		{"itself by pod IP", []string{"app", "http", "http://" + podIP(t, mesh, "client") + ":8080/"}, "client"},
		{"itself by localhost", []string{"app", "http", "http://127.0.0.1:7070/"}, "client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, mesh, "client", tt.args...)
			if tt.pod == "" && !strings.HasPrefix(got.Pod, "echo-") || tt.pod != "" && got.Pod != tt.pod {
				t.Errorf("answered by %q, want %q (\"\" is any of echo's)", got.Pod, tt.pod)
			}
		})
	}
}

// TestHeadless holds that the name of a headless Service reaches its pods.
func TestHeadless(t *testing.T) {
	got := ask(t, mesh, "client", "app", "http", "http://peer:8080/")
	if !strings.HasPrefix(got.Pod, "peer-") {
		t.Errorf("answered by %q, want one of peer's", got.Pod)
	}
}

// TestKubernetesAPI lists and watches through https://kubernetes.default, TLS
// that the proxy can't read, on a connection that stays open.
func TestKubernetesAPI(t *testing.T) {
	kubectl(t, "-n", mesh, "create", "configmap", "watched", "--from-literal=a=b")
	t.Cleanup(func() { kubectl(t, "-n", mesh, "delete", "configmap", "watched") })
	events := in(t, mesh, "client", "app", "watch", "/api/v1/namespaces/"+mesh+"/configmaps?watch=true&fieldSelector=metadata.name%3Dwatched")
	if !strings.Contains(events, `"type":"ADDED"`) || !strings.Contains(events, `"watched"`) {
		t.Errorf("watch printed %q, want the ADDED event of configmap watched", events)
	}
}

// TestServerSpeaksFirst talks to NATS, whose server greets before the client
// has said a word.
func TestServerSpeaksFirst(t *testing.T) {
	for _, from := range []string{mesh, plain} {
		t.Run("from "+from, func(t *testing.T) {
			if got := in(t, from, "client", "app", "nats", "nats."+mesh+":4222"); !strings.Contains(got, "nats") {
				t.Errorf("received %q, want the published message", got)
			}
		})
	}
}

// TestLoopbackStaysPrivate holds that a port bound to 127.0.0.1 in an injected
// pod can't be reached from outside it.
func TestLoopbackStaysPrivate(t *testing.T) {
	target := "http://" + podIP(t, mesh, "inbound-excluded") + ":7070/"
	for _, from := range []string{mesh, plain} {
		if out, err := tryIn(from, "client", "app", "http", "-timeout", "3s", target); err == nil {
			t.Errorf("from %s: %s answered %q; it is bound to 127.0.0.1 of another pod", from, target, out)
		}
	}
	if got := ask(t, mesh, "inbound-excluded", "app", "http", "http://127.0.0.1:7070/"); got.Pod != "inbound-excluded" {
		t.Errorf("inside the pod %q answered, want inbound-excluded", got.Pod)
	}
}
