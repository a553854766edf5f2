// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/shuntmesh/shunt/internal/contract"
)

// waitLimit bounds each wait for the cluster: pods start in seconds.
const waitLimit = 2 * time.Minute

// cluster does to Kubernetes what the demo needs, in one namespace.
type cluster struct {
	kube kubernetes.Interface
	pod  podReader
	ns   string
}

// make makes the namespace.
func (c cluster) make(ctx context.Context, injected bool) error {
	_, err := c.kube.CoreV1().Namespaces().Create(ctx, namespace(c.ns, injected), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", c.ns, err)
	}
	return nil
}

// remove deletes the namespace and waits until it is gone. It refuses one that the
// demo did not make.
func (c cluster) remove(ctx context.Context) error {
	namespaces := c.kube.CoreV1().Namespaces()
	return poll(ctx, "wait until namespace "+c.ns+" is gone", func() (bool, error) {
		n, err := namespaces.Get(ctx, c.ns, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return true, nil
		case err != nil:
			return false, err
		case n.Labels[demoLabel] != "true":
			return false, permanentError{fmt.Errorf("namespace %s is not the demo's: it lacks the label %s (delete it, if nobody needs it)", c.ns, demoLabel)}
		case n.DeletionTimestamp == nil:
			err = namespaces.Delete(ctx, c.ns, metav1.DeleteOptions{})
		}
		return false, err
	})
}

// startServers makes the Deployment and its Service and waits for all replicas.
func (c cluster) startServers(ctx context.Context, name, image string, replicas int32, args ...string) error {
	_, err := c.kube.AppsV1().Deployments(c.ns).Create(ctx, serverDeployment(name, image, replicas, args...), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create deployment %s: %w", name, err)
	}
	if _, err := c.kube.CoreV1().Services(c.ns).Create(ctx, service(name), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create service %s: %w", name, err)
	}
	return c.waitRollout(ctx, name)
}

// startClient makes the client anew and waits until it runs.
func (c cluster) startClient(ctx context.Context, pod *corev1.Pod) error {
	if err := c.stopClient(ctx, pod.Name); err != nil {
		return err
	}
	if _, err := c.kube.CoreV1().Pods(c.ns).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create pod %s: %w", pod.Name, err)
	}
	return poll(ctx, "wait for pod "+pod.Name, func() (bool, error) {
		p, err := c.kube.CoreV1().Pods(c.ns).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return p.Status.Phase == corev1.PodRunning, imageError(*p)
	})
}

func (c cluster) stopClient(ctx context.Context, name string) error {
	err := c.kube.CoreV1().Pods(c.ns).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete pod %s: %w", name, err)
	}
	return poll(ctx, "wait until pod "+name+" is gone", func() (bool, error) {
		_, err := c.kube.CoreV1().Pods(c.ns).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// clientState says why a client calls no more; nil when it runs.
func (c cluster) clientState(ctx context.Context, name string) error {
	p, err := c.kube.CoreV1().Pods(c.ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read pod %s: %w", name, err)
	}
	if p.Status.Phase == corev1.PodRunning {
		return nil
	}
	return fmt.Errorf("pod %s/%s is %s (see: kubectl -n %s logs %s -c client)", c.ns, name, p.Status.Phase, c.ns, name)
}

// deleteServers removes a Deployment and its Service.
func (c cluster) deleteServers(ctx context.Context, name string) error {
	return errors.Join(
		c.kube.AppsV1().Deployments(c.ns).Delete(ctx, name, metav1.DeleteOptions{}),
		c.kube.CoreV1().Services(c.ns).Delete(ctx, name, metav1.DeleteOptions{}))
}

// checkSidecar refuses a pod whose containers say that the mesh is not there
// (or, with want false, that it is).
func (c cluster) checkSidecar(ctx context.Context, pod string, want bool) error {
	p, err := c.kube.CoreV1().Pods(c.ns).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read pod %s: %w", pod, err)
	}
	has := slices.ContainsFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == contract.ProxyContainer })
	switch {
	case want && !has:
		return fmt.Errorf("pod %s/%s came up without a sidecar (is Shunt installed? run: shuntctl install)", c.ns, pod)
	case has && !want:
		return fmt.Errorf("pod %s/%s has a sidecar, but its namespace is not labelled", c.ns, pod)
	}
	return nil
}

func (c cluster) scale(ctx context.Context, name string, replicas int32) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := c.kube.AppsV1().Deployments(c.ns).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("scale deployment %s: %w", name, err)
	}
	return nil
}

// restart does what `kubectl rollout restart` does.
func (c cluster) restart(ctx context.Context, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`,
		time.Now().Format(time.RFC3339Nano))
	_, err := c.kube.AppsV1().Deployments(c.ns).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("restart deployment %s: %w", name, err)
	}
	return nil
}

// waitRollout waits until all replicas are new and available, and no old pod is
// left, not even one that terminates.
func (c cluster) waitRollout(ctx context.Context, name string) error {
	return poll(ctx, "wait for deployment "+name, func() (bool, error) {
		d, err := c.kube.AppsV1().Deployments(c.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		pods, err := c.pods(ctx, name)
		if err != nil {
			return false, err
		}
		var bad error
		for _, p := range pods {
			bad = errors.Join(bad, imageError(p))
		}
		want, s := *d.Spec.Replicas, d.Status
		done := s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.AvailableReplicas == want &&
			s.Replicas == want && len(pods) == int(want)
		return done, bad
	})
}

func (c cluster) pods(ctx context.Context, app string) ([]corev1.Pod, error) {
	list, err := c.kube.CoreV1().Pods(c.ns).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", app, err)
	}
	return list.Items, nil
}

// imageError is not nil when the pod's node can't get an image, since no
// patience helps against that.
func imageError(p corev1.Pod) error {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && (w.Reason == "ErrImagePull" || w.Reason == "ImagePullBackOff" || w.Reason == "InvalidImageName") {
			return permanentError{fmt.Errorf("node %s can't get image %s: %s (load it into the node, or push it to a registry and name it with --image)",
				p.Spec.NodeName, s.Image, w.Message)}
		}
	}
	return nil
}

// permanentError ends a poll.
type permanentError struct{ error }

// Unwrap gives the reason.
func (e permanentError) Unwrap() error { return e.error }

// poll asks every 200 ms until done, for waitLimit at most. Errors of ask are
// retried, but for permanent ones.
func poll(ctx context.Context, what string, ask func() (done bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		done, err := ask()
		if done && err == nil {
			return nil
		}
		if permanent := (permanentError{}); errors.As(err, &permanent) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
