// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/internal/contract"
)

// DefaultAgentWait is how long the agents may take to clean their nodes. Each
// needs some seconds, and all work at once.
const DefaultAgentWait = 45 * time.Second

// removeNode takes the part on the nodes out: the agents clean up, then they go,
// then what they ran with. It returns the nodes whose agents didn't answer.
//
// The order matters: an agent that lost its rights can't learn what it is to do,
// and a node with a configuration that names a missing plugin starts no pod.
func (c *Cluster) removeNode(ctx context.Context, objects []*unstructured.Unstructured, o Options) (changes []Change, silent []string, err error) {
	set, rest := split(objects, "DaemonSet")
	if len(set) == 0 {
		return nil, nil, nil
	}
	if silent, err = c.askAgents(ctx, set[0], o); err != nil {
		return nil, silent, err
	}
	if changes, err = c.Delete(ctx, set, o); err != nil {
		return changes, silent, err
	}
	if !o.NoWait {
		if err := c.waitAgentsGone(ctx); err != nil {
			return changes, silent, err
		}
	}
	more, err := c.Delete(ctx, rest, o)
	changes = append(changes, more...)
	if err != nil {
		return changes, silent, err
	}
	if err := c.forgetNodes(ctx); err != nil {
		o.Progress(fmt.Sprintf("the annotation %s stays on nodes (%v)", contract.AnnotationNode, err))
	}
	return changes, silent, nil
}

// askAgents annotates their DaemonSet and waits until each has answered in its
// Node.
func (c *Cluster) askAgents(ctx context.Context, set *unstructured.Unstructured, o Options) (silent []string, err error) {
	present, err := c.resource(set).Get(ctx, set.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && present.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", Name(set), err)
	}
	what := contract.UninstallPlugin
	if o.RemoveRules {
		what = contract.UninstallRules
	}
	o.Progress("asking the agents to clean their nodes")
	if err := c.annotate(ctx, set, contract.AnnotationUninstall, what); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.AgentWait, DefaultAgentWait))
	defer cancel()
	err = poll(ctx, "wait for the agents", func() (string, error) {
		agents, err := c.Agents(ctx)
		if err != nil {
			return "", err
		}
		silent = unanswered(agents, o.RemoveRules)
		return strings.Join(silent, ", "), nil
	})
	if err != nil && len(silent) == 0 {
		return nil, err // they could not be asked at all
	}
	return silent, nil
}

// unanswered are the nodes with an agent that runs and has not cleaned up.
func unanswered(agents []Agent, rules bool) []string {
	var out []string
	for _, a := range agents {
		done := a.Says.Plugin == contract.NodeUninstalled && (!rules || a.Says.Rules == contract.NodeRemoved)
		if a.Pod != "" && !done {
			out = append(out, a.Node)
		}
	}
	return out
}

// takeBack lets agents install that were asked to clean up by a removal that did
// not come to its end.
func (c *Cluster) takeBack(ctx context.Context, set *unstructured.Unstructured) error {
	present, err := c.resource(set).Get(ctx, set.GetName(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", Name(set), err)
	}
	if present.GetAnnotations()[contract.AnnotationUninstall] == "" {
		return nil
	}
	return c.annotate(ctx, set, contract.AnnotationUninstall, "")
}

// annotate sets, or with "" removes, one annotation of an object.
func (c *Cluster) annotate(ctx context.Context, o *unstructured.Unstructured, key, value string) error {
	text := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	if value == "" {
		text = fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, key)
	}
	_, err := c.resource(o).Patch(ctx, o.GetName(), types.MergePatchType, []byte(text), metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return fmt.Errorf("annotate %s: %w", Name(o), err)
	}
	return nil
}

// waitAgentsGone waits for the pods: an agent that was not asked, or could not
// answer, cleans up when it ends.
func (c *Cluster) waitAgentsGone(ctx context.Context) error {
	return poll(ctx, "wait until the nodes' agents have ended", func() (string, error) {
		pods, err := c.agentPods(ctx)
		if err != nil || len(pods) == 0 {
			return "", err
		}
		return fmt.Sprintf("pod %s on node %s", pods[0].Name, pods[0].Spec.NodeName), nil
	})
}

// forgetNodes removes what the agents wrote of their nodes.
func (c *Cluster) forgetNodes(ctx context.Context) error {
	agents, err := c.Agents(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		if reflect.DeepEqual(a.Says, contract.Node{}) && a.Trouble == "" {
			continue
		}
		node := &unstructured.Unstructured{}
		node.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Node"})
		node.SetName(a.Node)
		if err := c.annotate(ctx, node, contract.AnnotationNode, ""); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// split divides objects by their kind.
func split(objects []*unstructured.Unstructured, kind string) (of, rest []*unstructured.Unstructured) {
	for _, o := range objects {
		if o.GetKind() == kind {
			of = append(of, o)
		} else {
			rest = append(rest, o)
		}
	}
	return of, rest
}
