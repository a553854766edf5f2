// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// What a node's agent does, in an Agent.
const (
	AgentReady    = "Ready"    // the plugin is in place
	AgentNotReady = "NotReady" // it runs, or tries to
	AgentMissing  = "Missing"  // the node has none
)

// Agent is what is known of one node and the agent on it.
type Agent struct {
	Node      string        `json:"node"`
	NodeReady bool          `json:"nodeReady"`
	State     string        `json:"state"` // AgentReady, AgentNotReady or AgentMissing
	Pod       string        `json:"pod,omitempty"`
	Restarts  int32         `json:"restarts"`
	Trouble   string        `json:"trouble,omitempty"` // why it isn't ready, where somebody says so
	Says      contract.Node `json:"says"`              // the last that the agent wrote of its node
}

// Agents tells of every Linux node's agent, in the order of the nodes' names.
func (c *Cluster) Agents(ctx context.Context) ([]Agent, error) {
	nodes, err := list[corev1.Node](ctx, c, core("nodes"))
	if err != nil {
		return nil, err
	}
	pods, err := c.agentPods(ctx)
	if err != nil {
		return nil, err
	}
	return FindAgents(nodes, pods), nil
}

func (c *Cluster) agentPods(ctx context.Context) ([]corev1.Pod, error) {
	of := core("pods")
	of.namespace, of.selector = contract.SystemNamespace, nameLabel+"="+contract.NodeDaemonSet
	return list[corev1.Pod](ctx, c, of)
}

// FindAgents puts the agents' pods to their nodes.
func FindAgents(nodes []corev1.Node, pods []corev1.Pod) []Agent {
	var out []Agent
	for _, n := range nodes {
		if os := n.Labels[corev1.LabelOSStable]; os != "" && os != string(corev1.Linux) {
			continue
		}
		a := Agent{Node: n.Name, NodeReady: is(n.Status.Conditions), State: AgentMissing}
		for _, p := range pods {
			if p.Spec.NodeName == n.Name && p.DeletionTimestamp == nil {
				a.describe(p)
			}
		}
		var err error
		if a.Says, err = contract.ParseNode(n.Annotations[contract.AnnotationNode]); err != nil {
			a.Trouble = err.Error()
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Agent) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

func is(conditions []corev1.NodeCondition) bool {
	return slices.ContainsFunc(conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func (a *Agent) describe(p corev1.Pod) {
	a.Pod, a.State, a.Trouble = p.Name, AgentNotReady, trouble(p)
	for _, s := range p.Status.ContainerStatuses {
		a.Restarts += s.RestartCount
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			a.State, a.Trouble = AgentReady, ""
		}
	}
}

// waitAgents returns when the agent of every node that is ready itself is, and
// none is of an older version.
func (c *Cluster) waitAgents(ctx context.Context, progress func(string)) error {
	progress("waiting for the agent of every node")
	var down []string
	what := fmt.Sprintf("wait for the nodes' agents (see: shuntctl node status; kubectl -n %s get pods,events)", contract.SystemNamespace)
	err := poll(ctx, what, func() (string, error) {
		set, err := getApp[appsv1.DaemonSet](ctx, c, "daemonsets", contract.NodeDaemonSet)
		if err != nil || set == nil {
			return "no DaemonSet " + contract.NodeDaemonSet, err
		}
		agents, err := c.Agents(ctx)
		if err != nil {
			return "", err
		}
		var pending string
		pending, down = lacking(set, agents)
		return pending, nil
	})
	if err == nil && len(down) > 0 {
		progress(fmt.Sprintf("not waited for node %s, which is not ready", strings.Join(down, ", ")))
	}
	return err
}

// lacking says what the agents lack, and which nodes are down, of which nothing
// can be expected.
func lacking(set *appsv1.DaemonSet, agents []Agent) (pending string, down []string) {
	if set.Status.ObservedGeneration < set.Generation {
		return "the controller has not seen the DaemonSet yet", nil
	}
	var lack []string
	up := 0
	for _, a := range agents {
		switch {
		case !a.NodeReady:
			down = append(down, a.Node)
			continue
		case a.State != AgentReady:
			lack = append(lack, a.lacks())
		}
		up++
	}
	if updated := int(set.Status.UpdatedNumberScheduled); len(lack) == 0 && updated < up {
		return fmt.Sprintf("%d of %d agents updated", updated, up), down
	}
	return strings.Join(lack, "; "), down
}

// lacks says what a node's agent lacks.
func (a Agent) lacks() string {
	text := "node " + a.Node + ": agent " + strings.ToLower(a.State)
	if why := cmp.Or(a.Trouble, a.Says.Plugin); why != "" {
		text += ", " + why
	}
	return text
}
