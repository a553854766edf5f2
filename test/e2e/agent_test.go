// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	system   = "shunt-system"
	agentSet = "shunt-node"
)

type podSpec struct {
	InitContainers, Containers []struct {
		Name            string
		SecurityContext struct {
			Privileged               bool
			AllowPrivilegeEscalation *bool
			Capabilities             struct{ Add []string }
		}
	}
}

// capabilities are the lines of /proc/<pid>/status that say what a process may do.
func capabilities(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	var caps []string
	for _, line := range lines(string(text)) {
		if strings.HasPrefix(line, "Cap") {
			caps = append(caps, line)
		}
	}
	if len(caps) < 5 {
		t.Fatalf("process %d tells of %d sets of capabilities, want 5 at least", pid, len(caps))
	}
	return caps
}

// agentPod is the agent of a node.
func agentPod(t *testing.T, node string) pod {
	t.Helper()
	pods := decode[struct{ Items []pod }](t, kubectl(t, "-n", system, "get", "pods", "-l", "app.kubernetes.io/name="+agentSet,
		"--field-selector=spec.nodeName="+node, "-o", "json")).Items
	pods = slices.DeleteFunc(pods, func(p pod) bool { return !isReady(p) })
	if len(pods) != 1 {
		t.Fatalf("%d agents are ready on %s, want one", len(pods), node)
	}
	return pods[0]
}

// takeAgentAway has the DaemonSet run an image that nobody has, and returns what
// gives the agents back.
func takeAgentAway(t *testing.T) (back func()) {
	t.Helper()
	image := kubectl(t, "-n", system, "get", "daemonset", agentSet, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	container := kubectl(t, "-n", system, "get", "daemonset", agentSet, "-o", "jsonpath={.spec.template.spec.containers[0].name}")
	kubectl(t, "-n", system, "set", "image", "daemonset/"+agentSet, container+"=shunt.dev/nobody-has-this:1")
	for _, node := range nodes() {
		kubectl(t, "-n", system, "delete", "pod", "-l", "app.kubernetes.io/name="+agentSet, "--field-selector=spec.nodeName="+node, "--timeout=90s")
	}
	for _, node := range nodes() {
		if _, err := metrics(node); err == nil {
			t.Fatalf("the agent of %s answers, and was to be away", node)
		}
	}
	return sync.OnceFunc(func() {
		t.Helper()
		kubectl(t, "-n", system, "set", "image", "daemonset/"+agentSet, container+"="+image)
		// The pods that wait for the other image need not wait for their turn.
		kubectl(t, "-n", system, "delete", "pod", "-l", "app.kubernetes.io/name="+agentSet, "--timeout=90s")
		kubectl(t, "-n", system, "rollout", "status", "daemonset", agentSet, "--timeout=120s")
	})
}

// metrics asks the agent of a node for its metrics, from outside the cluster.
func metrics(node string) (map[string]float64, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + nodeAddress(node) + ":15016/metrics")
	if err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", node, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent of %s: %w", node, err)
	}
	values := map[string]float64{}
	for _, line := range lines(string(text)) {
		if name, value, ok := cutSample(line); ok {
			values[name] = value
		}
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("the agent of %s has no metric: %q", node, text)
	}
	return values, nil
}

// first waits until the judge has heard a witness's first dial.
func (c *court) first(t *testing.T, w *witness) time.Time {
	t.Helper()
	var at time.Time
	complaint := within(time.Minute, func() string {
		if at = c.report(t).Pods[w.uid].First; at.IsZero() {
			return w.name + " has not dialled"
		}
		return ""
	})
	if complaint != "" {
		t.Fatalf("%s\n%s", complaint, c.why(w.name))
	}
	return at
}

// flow starts witnesses, gap apart, at least n of them and until stop is called.
// The batch is deleted when the test ends.
func (c *court) flow(t *testing.T, batch string, n int, gap time.Duration) (stop func() []*witness) {
	t.Helper()
	var (
		started []*witness
		failed  error
		end     = make(chan struct{})
		running sync.WaitGroup
	)
	running.Go(func() {
		for {
			select {
			case <-end:
				if len(started) >= n || t.Failed() {
					return
				}
			default:
			}
			w, err := c.call(witnessed, witnessPod(batch, "", nil))
			if err != nil {
				failed = err
				return
			}
			started = append(started, w)
			time.Sleep(gap)
		}
	})
	ended := sync.OnceFunc(func() {
		close(end)
		running.Wait()
	})
	t.Cleanup(func() {
		ended()
		c.end(t, batch)
	})
	return func() []*witness {
		t.Helper()
		ended()
		if failed != nil {
			t.Errorf("start a pod: %v", failed)
		}
		return started
	}
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
