// SPDX-License-Identifier: Apache-2.0

package install_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/shuntctl/install"
	"github.com/shuntmesh/shunt/shuntctl/internal/fakeapi"
)

const (
	namespacePath = "/api/v1/namespaces/shunt-system"
	agentsPath    = "/apis/apps/v1/namespaces/shunt-system/daemonsets/shunt-node"
	accountPath   = "/api/v1/namespaces/shunt-system/serviceaccounts/shunt-node"
	webhookPath   = "/apis/apps/v1/namespaces/shunt-system/deployments/shunt-webhook"
	enforceLabel  = "pod-security.kubernetes.io/enforce"
)

// full is a node that is ready and holds all images.
func full(name string) map[string]any {
	n := node(name, "shunt.dev/dataplane:0.1.0", "shunt.dev/controlplane:0.1.0", "shunt.dev/node:0.1.0")
	n["status"].(map[string]any)["conditions"] = []any{map[string]any{"type": "Ready", "status": "True"}}
	return n
}

func byNode() install.Options {
	o := quiet(false)
	o.Capture = contract.InterceptionCNI
	return o
}

func mustInstall(t *testing.T, c *install.Cluster, o install.Options) *install.Result {
	t.Helper()
	r, err := c.Install(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// before reports whether one entry of a log comes before another.
func before(t *testing.T, log []string, first, second string) {
	t.Helper()
	i, j := slices.Index(log, first), slices.Index(log, second)
	if i < 0 || j < 0 || i > j {
		t.Errorf("want %q before %q, got:\n%s", first, second, strings.Join(log, "\n"))
	}
}

func TestInstallByNodes(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{full("a"), full("b")}}
	c := newCluster(t, s)
	if r := mustInstall(t, c, byNode()); r.Capture != contract.InterceptionCNI || r.Was != "" {
		t.Errorf("result %+v", r)
	}
	before(t, s.Log, "APPLY "+namespacePath, "APPLY "+agentsPath)
	before(t, s.Log, "APPLY "+accountPath, "APPLY "+agentsPath)
	before(t, s.Log, "APPLY "+agentsPath, "APPLY "+webhookPath)
	if labels := s.Object(namespacePath)["metadata"].(map[string]any)["labels"].(map[string]any); labels[enforceLabel] != "privileged" {
		t.Errorf("the namespace refuses the agents: %v", labels)
	}
	// Who says nothing keeps what there is.
	for _, ch := range mustInstall(t, c, quiet(false)).Changes {
		if ch.Action != "unchanged" {
			t.Errorf("second install: %s %s, want unchanged", ch.Object, ch.Action)
		}
	}
}

// An uninstallation that did not come to its end is taken back.
func TestInstallOverHalfAnUninstallation(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{full("a")}}
	c := newCluster(t, s)
	mustInstall(t, c, byNode())
	s.Object(agentsPath)["metadata"].(map[string]any)["annotations"] = map[string]any{contract.AnnotationUninstall: contract.UninstallPlugin}
	mustInstall(t, c, quiet(false))
	if left := s.Object(agentsPath)["metadata"].(map[string]any)["annotations"].(map[string]any); len(left) != 0 {
		t.Errorf("the agents still clean up: %v", left)
	}
}

func TestInstallSaysWhichAgentIsMissing(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{full("a")}, Idle: true}
	c := newCluster(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // the client's own limit takes some
	defer cancel()
	_, err := c.Install(ctx, byNode())
	if err == nil || !strings.Contains(err.Error(), "node a: agent missing") || !strings.Contains(err.Error(), "shuntctl node status") {
		t.Errorf("error %v, want the node without an agent", err)
	}
	if s.Object(webhookPath) != nil {
		t.Error("the webhook came although no node captures yet")
	}
}

// The part on the nodes goes when no pod needs it any more, and not before.
func TestFromNodesToInit(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{full("a")}}
	c := newCluster(t, s)
	mustInstall(t, c, byNode())
	own := len(s.Pods)
	s.Pods = append(s.Pods, map[string]any{"metadata": map[string]any{
		"namespace": "shop", "name": "cart-0", "annotations": map[string]any{contract.AnnotationStatus: `{"interception":"cni"}`},
	}})
	o := quiet(false)
	o.Capture = contract.InterceptionInit
	r := mustInstall(t, c, o)
	want := []install.Leftover{{Namespace: "shop", Kind: "Pod", Name: "cart-0", Pods: 1}}
	if diff := cmp.Diff(want, r.ByNode); diff != "" || r.Was != contract.InterceptionCNI {
		t.Errorf("was %q; pods that need their node (-want +got):\n%s", r.Was, diff)
	}
	if s.Object(agentsPath) == nil {
		t.Fatal("the agents are gone, and a pod needs them")
	}
	s.Pods = s.Pods[:own]
	s.Log = nil
	if r := mustInstall(t, c, quiet(false)); len(r.ByNode) != 0 || len(r.Silent) != 0 {
		t.Errorf("result %+v", r)
	}
	before(t, s.Log, "ANNOTATE "+agentsPath, "DELETE "+agentsPath)
	before(t, s.Log, "DELETE "+agentsPath, "DELETE "+accountPath)
	if s.Object(agentsPath) != nil || s.Object(accountPath) != nil {
		t.Errorf("left: %v", s.Paths())
	}
	if labels := s.Object(namespacePath)["metadata"].(map[string]any)["labels"].(map[string]any); labels[enforceLabel] != "restricted" {
		t.Errorf("the namespace is still open: %v", labels)
	}
}

func TestUninstallByNodes(t *testing.T) {
	for _, rules := range []bool{false, true} {
		s := &fakeapi.Server{Nodes: []any{full("a"), full("b")}}
		c := newCluster(t, s)
		mustInstall(t, c, byNode())
		s.Log = nil
		o := quiet(false)
		o.RemoveRules = rules
		r, err := c.Uninstall(t.Context(), o)
		if err != nil || len(r.Silent) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		before(t, s.Log, "DELETE "+admissionPath, "ANNOTATE "+agentsPath)
		before(t, s.Log, "ANNOTATE "+agentsPath, "DELETE "+agentsPath)
		before(t, s.Log, "DELETE "+agentsPath, "DELETE "+accountPath)
		before(t, s.Log, "DELETE "+accountPath, "DELETE "+namespacePath)
		if left := s.Paths(); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		for _, n := range s.Nodes {
			if left := n.(map[string]any)["metadata"].(map[string]any)["annotations"].(map[string]any); len(left) != 0 {
				t.Errorf("left at a node: %v", left)
			}
		}
	}
}

func TestUninstallNamesSilentNodes(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{full("a"), full("mute")}, Mute: "mute"}
	c := newCluster(t, s)
	mustInstall(t, c, byNode())
	o := quiet(false)
	o.AgentWait = 300 * time.Millisecond
	r, err := c.Uninstall(t.Context(), o)
	if err != nil || !slices.Equal(r.Silent, []string{"mute"}) {
		t.Errorf("silent %v, %v", r.Silent, err)
	}
}

func TestFindAgents(t *testing.T) {
	node := func(name, os, annotation string, ready corev1.ConditionStatus) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: os}, Annotations: map[string]string{contract.AnnotationNode: annotation}}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return n
	}
	pod := func(name, on string, ready corev1.ConditionStatus) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: on}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 2, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such host"}}}}
		return p
	}
	ending := pod("old", "a", corev1.ConditionTrue)
	ending.DeletionTimestamp = &metav1.Time{}
	said := contract.Node{Version: "0.1.0", Backend: "nftables", Plugin: "installed"}
	got := install.FindAgents([]corev1.Node{
		node("w", "windows", "", corev1.ConditionTrue),
		node("c", "linux", "{", corev1.ConditionTrue),
		node("b", "", "", corev1.ConditionFalse),
		node("a", "linux", `{"version":"0.1.0","backend":"nftables","plugin":"installed"}`, corev1.ConditionTrue),
	}, []corev1.Pod{ending, pod("new", "a", corev1.ConditionTrue), pod("other", "b", corev1.ConditionFalse)})
	for i := range got {
		got[i].Trouble, _, _ = strings.Cut(got[i].Trouble, ": ")
	}
	want := []install.Agent{
		{Node: "a", NodeReady: true, State: install.AgentReady, Pod: "new", Restarts: 2, Says: said},
		{Node: "b", State: install.AgentNotReady, Pod: "other", Restarts: 2, Trouble: "ErrImagePull"},
		{Node: "c", NodeReady: true, State: install.AgentMissing, Trouble: "read annotation shunt.dev/node"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FindAgents (-want +got):\n%s", diff)
	}
}
