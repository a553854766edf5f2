// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Wait returns when the control plane works: its Deployments are rolled out,
// the webhook has written its caBundle, and the API server gets an injected pod
// back from it. Each step is told to progress before it is waited for.
func (c *Cluster) Wait(ctx context.Context, objects []*unstructured.Unstructured, progress func(string)) error {
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		progress("waiting for " + Name(o))
		if err := c.waitRollout(ctx, o); err != nil {
			return err
		}
	}
	progress("waiting for the webhook to answer")
	if err := c.waitBundle(ctx, objects); err != nil {
		return err
	}
	return poll(ctx, "wait for the webhook to inject a pod", func() (string, error) { return c.tryInjection(ctx) })
}

func (c *Cluster) waitRollout(ctx context.Context, o *unstructured.Unstructured) error {
	what := fmt.Sprintf("wait for %s (see: kubectl -n %s get pods,events)", Name(o), o.GetNamespace())
	return poll(ctx, what, func() (string, error) {
		u, err := c.resource(o).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
			return "", err
		}
		pending := rollout(&d)
		if pending != "" {
			pending += c.podTrouble(ctx, &d)
		}
		return pending, nil
	})
}

// podTrouble says why the first of a Deployment's pods does not start; "" when
// none says so.
func (c *Cluster) podTrouble(ctx context.Context, d *appsv1.Deployment) string {
	of := core("pods")
	of.namespace, of.selector = d.Namespace, metav1.FormatLabelSelector(d.Spec.Selector)
	pods, err := list[corev1.Pod](ctx, c, of)
	if err != nil {
		return "" // it only adds to what is known
	}
	for _, p := range pods {
		if t := trouble(p); t != "" {
			return fmt.Sprintf("; pod %s: %s", p.Name, t)
		}
	}
	return ""
}

func trouble(p corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Message != "":
			return s.State.Waiting.Reason + ": " + s.State.Waiting.Message
		case s.LastTerminationState.Terminated != nil && !s.Ready:
			return fmt.Sprintf("container %s exited with code %d %d times", s.Name, s.LastTerminationState.Terminated.ExitCode, s.RestartCount)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

// rollout says what a Deployment still lacks; "" when every replica is new and
// available.
func rollout(d *appsv1.Deployment) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return "the controller has not seen it yet"
	case s.UpdatedReplicas < want, s.AvailableReplicas < want, s.Replicas > want:
		message := fmt.Sprintf("%d of %d replicas updated, %d available", s.UpdatedReplicas, want, s.AvailableReplicas)
		for _, c := range s.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				message += "; " + c.Message
			}
		}
		return message
	default:
		return ""
	}
}

func (c *Cluster) waitBundle(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		if o.GetKind() != "MutatingWebhookConfiguration" {
			continue
		}
		err := poll(ctx, "wait for the caBundle of "+Name(o), func() (string, error) {
			u, err := c.resource(o).Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return bundles(u), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bundles names the entries of a webhook configuration without a caBundle.
func bundles(u *unstructured.Unstructured) string {
	var missing []string
	entries, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
	for _, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok {
			continue
		}
		name, _, _ := unstructured.NestedString(entry, "name")
		if bundle, _, _ := unstructured.NestedString(entry, "clientConfig", "caBundle"); bundle == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "no caBundle in " + strings.Join(missing, ", ")
}

// tryInjection sends a pod through admission without storing it.
func (c *Cluster) tryInjection(ctx context.Context) (pending string, err error) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	got, err := c.Client.Resource(pods).Namespace(metav1.NamespaceDefault).
		Create(ctx, probePod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: FieldManager})
	if err == nil {
		return injected(got), nil
	}
	// Validation comes after all mutating webhooks: who is refused by a policy
	// or a quota of the namespace has passed ours.
	if apierrors.IsForbidden(err) && (strings.Contains(err.Error(), "violates PodSecurity") || strings.Contains(err.Error(), "exceeded quota")) {
		return "", nil
	}
	return "", err
}

func injected(pod *unstructured.Unstructured) string {
	inits, _, _ := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	for _, i := range inits {
		if container, ok := i.(map[string]any); ok && container["name"] == contract.ProxyContainer {
			return ""
		}
	}
	return "a labelled pod comes back without " + contract.ProxyContainer
}

func probePod() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Pod",
		"metadata": map[string]any{
			"generateName": "shunt-install-probe-",
			"labels":       map[string]any{contract.LabelInject: contract.InjectEnabled},
		},
		"spec": map[string]any{
			"containers": []any{map[string]any{"name": "probe", "image": "shunt.dev/probe"}},
		},
	}}
}
