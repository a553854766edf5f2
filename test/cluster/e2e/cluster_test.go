// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e starts real clusters on this host, uses them, and looks at what is left of them.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCluster starts a cluster, uses all of it, ends it, and finds the host as it was.
func TestCluster(t *testing.T) {
	h := newHarness(t)
	h.cluster(t, "down")
	before := takeInventory(t)
	t.Cleanup(func() { h.cluster(t, "down"); before.compare(t) })

	began := time.Now()
	h.cluster(t, "up")
	t.Logf("FIGURE cluster.up_seconds %.1f s", time.Since(began).Seconds())
	h.loadProbe(t)
	h.apply(t, "probe.yaml")
	h.kubectl(t, "rollout", "status", "deployment/probe", "--timeout=2m")

	t.Run("status", h.testStatus)
	t.Run("second up", h.testSecondUp)
	t.Run("services", h.testServices)
	t.Run("streams", h.testStreams)
	t.Run("tokens", h.testTokens)
	t.Run("restricted pods", h.testRestricted)
	t.Run("webhooks", h.testWebhook)
	t.Run("nodes are apart", h.testNodesApart)
	t.Run("outside", h.testOutside)
	t.Run("reboot", h.testReboot)
	t.Run("stop", h.testStop) // last: who watched the API server takes a while to come back
}

// pods returns the names of the probe's pods.
func (h harness) pods(t *testing.T) []string {
	t.Helper()
	return strings.Fields(h.kubectl(t, "get", "pods", "-l", "app=probe", "-o", "jsonpath={.items[*].metadata.name}"))
}

func (h harness) testStatus(t *testing.T) {
	var status struct {
		Machines []struct {
			Name     string
			Ready    bool
			Services []struct {
				Name    string
				Running bool
			}
		}
	}
	if err := json.Unmarshal([]byte(h.cluster(t, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Machines) != 3 {
		t.Fatalf("status shows %d machines, want cp, n1, n2", len(status.Machines))
	}
	for _, m := range status.Machines {
		if !m.Ready || len(m.Services) < 3 {
			t.Errorf("machine %s: ready %t with %d daemons", m.Name, m.Ready, len(m.Services))
		}
		for _, s := range m.Services {
			if !s.Running {
				t.Errorf("machine %s: %s doesn't run", m.Name, s.Name)
			}
		}
	}
	if table := h.cluster(t, "status"); !strings.Contains(table, "172.30.0.12") {
		t.Errorf("status shows no address of n2:\n%s", table)
	}
}

// testSecondUp finds that a cluster which is up is left alone.
func (h harness) testSecondUp(t *testing.T) {
	const uid = "jsonpath={.metadata.uid}"
	before := h.kubectl(t, "get", "namespace", "kube-system", "-o", uid)
	h.cluster(t, "up")
	if after := h.kubectl(t, "get", "namespace", "kube-system", "-o", uid); after != before {
		t.Error("a second up made another cluster")
	}
}

// testServices calls a Service by name: DNS, kube-proxy, and pods of both nodes, also the caller's neighbours and itself.
func (h harness) testServices(t *testing.T) {
	for _, pod := range h.pods(t) {
		seen := map[string]bool{}
		for range 40 {
			name, _, _ := strings.Cut(h.kubectl(t, "exec", pod, "--", "/probe", "get", "http://probe"), " ")
			if seen[name] = true; len(seen) == 4 {
				break
			}
		}
		if len(seen) < 4 {
			t.Errorf("pod %s reached only %v of 4", pod, seen)
		}
	}
	_, err := try(time.Minute, h.kubectlArgs(t, "exec", h.pods(t)[0], "--", "/probe", "lookup", "www.example.com")...)
	if err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name outside of the cluster: got %v, want no such host", err)
	}
}

// testStreams uses what goes from the API server to a kubelet.
func (h harness) testStreams(t *testing.T) {
	pod := h.pods(t)[0]
	eventually(t, 10*time.Second, func() string {
		if logs := h.kubectl(t, "logs", pod); !strings.Contains(logs, "called from") {
			return "no call in the log: " + logs
		}
		return ""
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	forward := begin(t, &out, h.kubectlArgs(t, "port-forward", "pod/"+pod, fmt.Sprintf("%d:8080", local))...)
	defer func() { _ = forward.Process.Kill(); _ = forward.Wait() }()
	eventually(t, 20*time.Second, func() string {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", local))
		if err != nil {
			return err.Error()
		}
		_ = response.Body.Close()
		return ""
	})
}

// testTokens asks for a token for one audience and has it reviewed for that and for another.
func (h harness) testTokens(t *testing.T) {
	token := strings.TrimSpace(h.kubectl(t, "create", "token", "default", "--audience=shunt-discovery"))
	for audience, want := range map[string]string{"shunt-discovery": "true", "another": ""} {
		review := filepath.Join(t.TempDir(), "review.json")
		text := fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":%q,"audiences":[%q]}}`, token, audience)
		if err := os.WriteFile(review, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.kubectl(t, "create", "-f", review, "-o", "jsonpath={.status.authenticated}"); got != want {
			t.Errorf("token for shunt-discovery, reviewed for %s: authenticated %q, want %q", audience, got, want)
		}
	}
}

// testRestricted starts a pod where Pod Security is restricted: it needs a seccomp profile, and runc built with seccomp.
func (h harness) testRestricted(t *testing.T) {
	h.apply(t, "restricted.yaml")
	h.kubectl(t, "-n", "restricted", "wait", "--for=condition=Ready", "pod/good", "--timeout=1m")
	out, err := try(time.Minute, h.kubectlArgs(t, "-n", "restricted", "run", "bad", "--image="+probeImage)...)
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("a pod that is not restricted: got %q, %v, want it refused", out, err)
	}
}

// testNodesApart finds that a directory of the host that a pod mounts is the node's own.
func (h harness) testNodesApart(t *testing.T) {
	for _, dir := range []string{"/etc/cni/net.d", "/opt/cni/bin", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni"} {
		if _, err := os.ReadDir(dir); err != nil {
			continue // made for the mount only, or not even that
		}
		if entries := names(dir); len(entries) > 0 && dir != "/etc/cni/net.d" && dir != "/opt/cni/bin" {
			t.Errorf("the host has %v in %s", entries, dir)
		}
	}
	first := h.kubectl(t, "get", "node", "n1", "-o", "jsonpath={.status.nodeInfo.bootID} {.status.nodeInfo.machineID}")
	second := h.kubectl(t, "get", "node", "n2", "-o", "jsonpath={.status.nodeInfo.bootID} {.status.nodeInfo.machineID}")
	if first == second {
		t.Errorf("both nodes call themselves %s", first)
	}
}

// testOutside calls a server that is neither pod nor node, in the namespace that is there for it.
func (h harness) testOutside(t *testing.T) {
	program := filepath.Join(t.TempDir(), "probe")
	run(t, time.Minute, "go", "build", "-o", program, "./probe")
	var out bytes.Buffer
	server := begin(t, &out, "nsenter", "--net=/run/netns/shunt-out", program, "serve", "172.30.0.100:8080")
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	pod := h.pods(t)[0]
	address := h.kubectl(t, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
	eventually(t, 10*time.Second, func() string {
		got, err := try(time.Minute, h.kubectlArgs(t, "exec", pod, "--", "/probe", "get", "http://172.30.0.100:8080")...)
		if err != nil {
			return err.Error()
		}
		if !strings.HasSuffix(strings.TrimSpace(got), " "+address) {
			return fmt.Sprintf("the outside saw %q, want the pod's address %s", got, address)
		}
		return ""
	})
}

// testStop takes the API server away and gives it back.
func (h harness) testStop(t *testing.T) {
	h.cluster(t, "stop", "cp", "kube-apiserver")
	if out, err := try(time.Minute, h.kubectlArgs(t, "get", "--raw=/readyz")...); err == nil {
		t.Errorf("the API server was stopped, and answered %q", out)
	}
	h.cluster(t, "start", "cp", "kube-apiserver")
	eventually(t, time.Minute, func() string {
		if _, err := try(time.Minute, h.kubectlArgs(t, "get", "--raw=/readyz")...); err != nil {
			return err.Error()
		}
		return ""
	})
}

// testReboot kills a node and finds its pods running again.
func (h harness) testReboot(t *testing.T) {
	const restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}"
	began := time.Now()
	h.cluster(t, "reboot", "n2")
	t.Logf("FIGURE cluster.reboot_seconds %.1f s", time.Since(began).Seconds())
	eventually(t, time.Minute, func() string {
		counts := h.kubectl(t, "get", "pods", "-l", "app=probe", "--field-selector=spec.nodeName=n2", "-o", restarts)
		if strings.TrimSpace(counts) == "" || strings.Contains(counts, "0") {
			return "pods of n2 were restarted " + counts + " times"
		}
		return ""
	})
	h.kubectl(t, "rollout", "status", "deployment/probe", "--timeout=2m")
	h.testServices(t)
	var exit *exec.ExitError
	if _, err := try(time.Minute, h.program, "-state", state, "reboot", "n7"); !errors.As(err, &exit) || !strings.Contains(err.Error(), "n1, n2") {
		t.Errorf("reboot n7: got %v, want the names that there are", err)
	}
}
