// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/judge"
	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

// Where witnesses live: the mesh's namespace has to be restricted, so that no
// pod there can have a privilege, ours included.
const (
	witnessed   = "e2e-witness"
	unwitnessed = "e2e-witness-plain"
)

const courtNamespaces = `
apiVersion: v1
kind: Namespace
metadata:
  name: e2e-witness
  labels: {shunt.dev/inject: enabled, pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: Namespace
metadata:
  name: e2e-witness-plain
  labels: {pod-security.kubernetes.io/enforce: restricted}
`

// court is a judge, and the witnesses whom it hears.
type court struct {
	api    *apiServer
	client *http.Client
	before held // what the node had in hand before pods were churned

	mu        sync.Mutex
	witnesses []*witness
}

// witness is one pod as it was created.
type witness struct {
	name, uid string
	created   time.Time
	captured  bool // the webhook says that the node captures it
}

// newCourt starts the judge on a host outside the cluster.
func newCourt(t *testing.T) *court {
	t.Helper()
	apply(t, courtNamespaces)
	t.Cleanup(func() {
		if os.Getenv("SHUNT_E2E_KEEP") == "" {
			kubectl(t, "delete", "namespace", witnessed, unwitnessed, "--wait=false")
		}
	})
	args := []string{"--net=/run/netns/" + outsideNamespace, "../../bin/e2e/app", "judge", "-address", outsideIP}
	for _, node := range nodes() {
		args = append(args, processFile(node))
	}
	server := exec.Command("nsenter", args...)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	c := &court{api: connect(t), client: &http.Client{Timeout: 5 * time.Second}}
	eventually(t, 10*time.Second, func() string {
		if _, err := c.ask(); err != nil {
			return err.Error()
		}
		return ""
	})
	return c
}

func (c *court) ask() (judge.Report, error) {
	var r judge.Report
	resp, err := c.client.Get("http://" + outsideIP + ":7002/")
	if err != nil {
		return r, fmt.Errorf("ask the judge: %w", err)
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

func (c *court) report(t *testing.T) judge.Report {
	t.Helper()
	r, err := c.ask()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// witnessPod is a pod whose first init container and whose app dial out as their
// first act.
// node may be empty.
func witnessPod(batch, node string, annotations map[string]string) map[string]any {
	container := func(name string, args ...string) map[string]any {
		return map[string]any{
			"name": name, "image": os.Getenv("SHUNT_E2E_IMAGE"),
			"command": append([]string{"witness", "-judge", fmt.Sprintf("%s:%d", outsideIP, testimony.PortJudge)}, args...),
			"env":     []any{map[string]any{"name": "POD_UID", "valueFrom": map[string]any{"fieldRef": map[string]string{"fieldPath": "metadata.uid"}}}},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}},
			},
		}
	}
	spec := map[string]any{
		"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
		"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]string{"type": "RuntimeDefault"}},
		"initContainers":  []any{container("first", "-listen=", "-dials=3")},
		"containers":      []any{container("app")},
	}
	if node != "" {
		spec["nodeSelector"] = map[string]string{"kubernetes.io/hostname": node}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"generateName": batch + "-", "labels": map[string]string{"batch": batch}, "annotations": annotations},
		"spec":     spec,
	}
}

// pod is what is read of one here.
type pod struct {
	Metadata struct {
		Name, UID   string
		Annotations map[string]string
	}
	Spec   podSpec
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status string }
	}
}

// call starts one witness and remembers it.
func (c *court) call(namespace string, manifest map[string]any) (*witness, error) {
	w := &witness{created: time.Now()}
	reply, err := c.api.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", manifest)
	if err != nil {
		return nil, err
	}
	var p pod
	if err := json.Unmarshal(reply.body, &p); err != nil {
		return nil, err
	}
	w.name, w.uid = p.Metadata.Name, p.Metadata.UID
	w.captured = strings.Contains(p.Metadata.Annotations["shunt.dev/status"], `"interception":"cni"`)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.witnesses = append(c.witnesses, w)
	return w, nil
}

// start starts n witnesses of the mesh, gap apart.
func (c *court) start(t *testing.T, batch, node string, n int, gap time.Duration) []*witness {
	t.Helper()
	var all []*witness
	for range n {
		w, err := c.call(witnessed, witnessPod(batch, node, nil))
		if err != nil {
			t.Fatal(err)
		}
		if !w.captured {
			t.Fatalf("%s is not captured by the node: is the mesh installed with --capture=cni?", w.name)
		}
		all = append(all, w)
		time.Sleep(gap)
	}
	return all
}

// ready waits until every pod of a batch is Ready: none may be stuck.
func (c *court) ready(t *testing.T, batch string, limit time.Duration) {
	t.Helper()
	var waiting []string
	complaint := within(limit, func() string {
		waiting = nil
		for _, p := range c.pods(t, batch) {
			if !isReady(p) {
				waiting = append(waiting, p.Metadata.Name)
			}
		}
		if len(waiting) == 0 {
			return ""
		}
		return fmt.Sprintf("not ready: %v", waiting)
	})
	if complaint != "" {
		t.Fatalf("after %v: %s\n%s", limit, complaint, c.why(waiting[0]))
	}
}

func isReady(p pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True"
		}
	}
	return false
}

// podsOfBatch is where the API server has a batch of a namespace.
func podsOfBatch(namespace, batch string) string {
	return "/api/v1/namespaces/" + namespace + "/pods?labelSelector=batch%3D" + batch
}

// pods lists a batch.
func (c *court) pods(t *testing.T, batch string) []pod {
	t.Helper()
	reply, err := c.api.do(http.MethodGet, podsOfBatch(witnessed, batch), nil)
	if err != nil {
		t.Fatal(err)
	}
	return decode[struct{ Items []pod }](t, string(reply.body)).Items
}

// why is what the cluster has to say about a pod.
func (c *court) why(name string) string {
	describe, _ := command(20*time.Second, "", "kubectl", "-n", witnessed, "describe", "pod", name)
	logs, _ := command(20*time.Second, "", "kubectl", "-n", witnessed, "logs", name, "--all-containers", "--tail=20", "--prefix")
	return describe + "\n" + logs
}

// end deletes a batch. While it goes, the next may come.
func (c *court) end(t *testing.T, batch string) {
	t.Helper()
	for _, namespace := range []string{witnessed, unwitnessed} {
		if _, err := c.api.do(http.MethodDelete, podsOfBatch(namespace, batch), nil); err != nil {
			t.Error(err)
		}
	}
}

// empty waits until no witness of the mesh is left.
func (c *court) empty(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Minute, func() string {
		reply, err := c.api.do(http.MethodGet, "/api/v1/namespaces/"+witnessed+"/pods", nil)
		if err != nil {
			return err.Error()
		}
		if left := decode[struct{ Items []pod }](t, string(reply.body)).Items; len(left) > 0 {
			return fmt.Sprintf("%d pods are left, %s among them", len(left), left[0].Metadata.Name)
		}
		return ""
	})
}

// heard waits until the judge has heard every witness through its proxy in both
// directions, and returns what it knows of them.
func (c *court) heard(t *testing.T, witnesses []*witness) judge.Report {
	t.Helper()
	const limit = 20 * time.Second
	var (
		report judge.Report
		silent string
	)
	complaint := within(limit, func() string {
		report = c.report(t)
		for _, w := range witnesses {
			if in, out := report.Pods[w.uid].Proxied(); in == 0 || out == 0 {
				silent = w.name
				return fmt.Sprintf("%s: %d calls and %d dials came through its proxy", w.name, in, out)
			}
		}
		return ""
	})
	if complaint != "" {
		t.Fatalf("after %v: %s\n%s", limit, complaint, c.why(silent))
	}
	return report
}

// eventually calls check until it returns no complaint, or fails with the last.
func eventually(t *testing.T, limit time.Duration, check func() (complaint string)) {
	t.Helper()
	if complaint := within(limit, check); complaint != "" {
		t.Fatalf("after %v: %s", limit, complaint)
	}
}

// within calls check until it returns no complaint, and returns the last. The
// longer it may take the seldomer it asks: who asks takes the cores of who works.
func within(limit time.Duration, check func() (complaint string)) (complaint string) {
	pause := min(max(limit/100, 100*time.Millisecond), time.Second)
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		if complaint = check(); complaint == "" || time.Now().After(end) {
			return complaint
		}
	}
}
