// SPDX-License-Identifier: Apache-2.0

package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Leftover is a workload whose pods run with a sidecar.
type Leftover struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"` // Deployment, StatefulSet, ..., or Pod when nothing would make it anew
	Name      string `json:"name"`
	Pods      int    `json:"pods"`
}

// Restart returns the command that gives the workload's pods a fresh start.
func (l Leftover) Restart() string {
	switch l.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return fmt.Sprintf("kubectl -n %s rollout restart %s/%s", l.Namespace, strings.ToLower(l.Kind), l.Name)
	case "Pod":
		return fmt.Sprintf("kubectl -n %s delete pod/%s    (nothing makes it anew)", l.Namespace, l.Name)
	default:
		return fmt.Sprintf("make the pods of %s %s/%s anew", strings.ToLower(l.Kind), l.Namespace, l.Name)
	}
}

// Leftovers looks for running pods with our sidecar in all namespaces.
func (c *Cluster) Leftovers(ctx context.Context) ([]Leftover, error) {
	pods, err := list[corev1.Pod](ctx, c, core("pods"))
	if err != nil {
		return nil, fmt.Errorf("look for pods with a sidecar: %w", err)
	}
	return FindLeftovers(pods), nil
}

// capturedByNodes looks for running pods that their nodes capture.
func (c *Cluster) capturedByNodes(ctx context.Context) ([]Leftover, error) {
	pods, err := list[corev1.Pod](ctx, c, core("pods"))
	if err != nil {
		return nil, fmt.Errorf("look for pods that nodes capture: %w", err)
	}
	return FindByNode(pods), nil
}

// FindLeftovers groups the pods that carry a sidecar by what made them. Without
// native sidecars it is one of the ordinary containers.
func FindLeftovers(pods []corev1.Pod) []Leftover {
	return group(pods, func(p corev1.Pod) bool {
		return slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool { return c.Name == contract.ProxyContainer })
	})
}

// FindByNode groups the pods that their nodes capture by what made them. One
// whose status can't be read might be.
func FindByNode(pods []corev1.Pod) []Leftover {
	return group(pods, func(p corev1.Pod) bool {
		c, err := contract.ParseCapture(p.Annotations[contract.AnnotationStatus])
		return err != nil || c.Interception == contract.InterceptionCNI
	})
}

// group counts the pods that have not ended, and that belong to it.
func group(pods []corev1.Pod, belongs func(corev1.Pod) bool) []Leftover {
	count := map[Leftover]int{}
	for _, p := range pods {
		done := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if !done && belongs(p) {
			count[owner(p)]++
		}
	}
	var out []Leftover
	for l, n := range count {
		l.Pods = n
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// owner names the pod's workload. A ReplicaSet of a Deployment has the
// Deployment's name and the hash of the pod template.
func owner(p corev1.Pod) Leftover {
	for _, ref := range p.OwnerReferences {
		if ref.Controller == nil || !*ref.Controller {
			continue
		}
		hash := p.Labels["pod-template-hash"]
		if name, ok := strings.CutSuffix(ref.Name, "-"+hash); ref.Kind == "ReplicaSet" && hash != "" && ok {
			return Leftover{Namespace: p.Namespace, Kind: "Deployment", Name: name}
		}
		return Leftover{Namespace: p.Namespace, Kind: ref.Kind, Name: ref.Name}
	}
	return Leftover{Namespace: p.Namespace, Kind: "Pod", Name: p.Name}
}
