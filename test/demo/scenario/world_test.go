// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/test/demo/tally"
)

// world plays kubelets, controllers and the mesh over a fake API server, so
// that a whole run of the demo takes milliseconds of virtual time.
type world struct {
	t    *testing.T
	kube *fake.Clientset

	meshless bool                                     // pods of the labelled namespace get no sidecar
	split    func(n int, ready []string) tally.Counts // who answers n calls in the mesh; nil is evenly
	failure  bool                                     // one call fails whenever a server goes

	logs sync.WaitGroup // who writes logs

	mu      sync.Mutex
	pods    map[string][]string // ready pods by namespace/app
	exited  map[string]time.Time
	failing int // calls that fail in the next line
	serial  int
}

const (
	tick      = 50 * time.Millisecond
	startTime = 400 * time.Millisecond // from a pod's creation to its readiness
)

func newWorld(t *testing.T) *world {
	kube := fake.NewClientset()
	// As an API server does, count a Deployment's generation: without it, nobody
	// can tell that a rollout has not begun yet.
	patch := k8stesting.ObjectReaction(kube.Tracker())
	kube.PrependReactor("patch", "deployments", func(a k8stesting.Action) (bool, runtime.Object, error) {
		handled, o, err := patch(a)
		if d, ok := o.(*appsv1.Deployment); ok && err == nil {
			d.Generation++
			err = kube.Tracker().Update(a.GetResource(), d, a.GetNamespace())
		}
		return handled, o, err
	})
	return &world{t: t, kube: kube, pods: map[string][]string{}, exited: map[string]time.Time{}}
}

// run plays until ctx is done.
func (w *world) run(ctx context.Context) {
	for ctx.Err() == nil {
		for _, ns := range []string{beforeNamespace, afterNamespace} {
			w.turn(ctx, ns)
		}
		time.Sleep(tick)
	}
}

func (w *world) turn(ctx context.Context, ns string) {
	deployments, _ := w.kube.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
	for _, d := range deployments.Items {
		w.reconcile(ctx, &d)
	}
	pods, _ := w.kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	for _, p := range pods.Items {
		if p.Name != "client" || p.Status.Phase != "" {
			continue
		}
		if ns == afterNamespace && !w.meshless {
			p.Spec.InitContainers = []corev1.Container{{Name: contract.ProxyContainer}}
		}
		p.Status.Phase = corev1.PodRunning
		w.must(w.kube.CoreV1().Pods(ns).Update(ctx, &p, metav1.UpdateOptions{}))
	}
}

// reconcile makes one pod or removes one old pod a turn, as a rollout does.
func (w *world) reconcile(ctx context.Context, d *appsv1.Deployment) {
	revision := "r" + d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"]
	list, _ := w.kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + d.Name})
	var now, old, ready []string
	for _, p := range list.Items {
		if p.Annotations["revision"] == revision {
			now = append(now, p.Name)
		} else {
			old = append(old, p.Name)
		}
		if since, err := time.Parse(time.RFC3339Nano, p.Annotations["created"]); err == nil && time.Since(since) >= startTime {
			ready = append(ready, p.Name)
		}
	}
	want := int(*d.Spec.Replicas)
	switch {
	case len(now) < want:
		w.create(ctx, d, revision)
	case len(now) > want:
		w.remove(ctx, d.Namespace, now[0])
	case len(old) > 0 && len(ready) > want:
		w.remove(ctx, d.Namespace, old[0])
		ready = slices.DeleteFunc(ready, func(s string) bool { return s == old[0] })
	}
	w.publish(ctx, d, ready, len(now), len(now)+len(old))
}

func (w *world) create(ctx context.Context, d *appsv1.Deployment, revision string) {
	w.serial++
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("%s-%02d", d.Name, w.serial), Namespace: d.Namespace, Labels: d.Spec.Template.Labels,
		Annotations: map[string]string{"revision": revision, "created": time.Now().Format(time.RFC3339Nano)},
	}, Spec: d.Spec.Template.Spec}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "server", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	w.must(w.kube.CoreV1().Pods(d.Namespace).Create(ctx, p, metav1.CreateOptions{}))
}

func (w *world) remove(ctx context.Context, ns, pod string) {
	w.mu.Lock()
	w.exited[pod] = time.Now()
	if w.failure || strings.Contains(pod, "-exit-") {
		w.failing++
	}
	w.mu.Unlock()
	_ = w.kube.CoreV1().Pods(ns).Delete(ctx, pod, metav1.DeleteOptions{})
}

// publish writes status and endpoints when they have changed.
func (w *world) publish(ctx context.Context, d *appsv1.Deployment, ready []string, updated, all int) {
	slices.Sort(ready)
	key := d.Namespace + "/" + d.Name
	w.mu.Lock()
	same := slices.Equal(w.pods[key], ready)
	w.pods[key] = ready
	w.mu.Unlock()
	status := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, UpdatedReplicas: int32(updated), AvailableReplicas: int32(len(ready)), Replicas: int32(all)}
	if !cmp.Equal(d.Status, status) {
		d.Status = status
		// Of a deployment that was deleted meanwhile, nobody reads the status.
		_, _ = w.kube.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
	}
	if same {
		return
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, Labels: map[string]string{discoveryv1.LabelServiceName: d.Name}}}
	for _, p := range ready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: p}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}})
	}
	slices := w.kube.DiscoveryV1().EndpointSlices(d.Namespace)
	if _, err := slices.Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		w.must(slices.Create(ctx, slice, metav1.CreateOptions{}))
	}
}

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil && !errors.Is(err, context.Canceled) {
		w.t.Errorf("world: %v", err)
	}
}

// log is a podReader's.
func (w *world) log(ctx context.Context, ns, pod, container string) (io.ReadCloser, error) {
	r, out := io.Pipe()
	context.AfterFunc(ctx, func() { _ = out.Close() })
	if container == "server" {
		w.logs.Go(func() { w.writeExit(ctx, out, pod) })
		return r, nil
	}
	p, err := w.kube.CoreV1().Pods(ns).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	_, server, _ := strings.Cut(p.Spec.Containers[0].Args[1], "dns:///")
	server, _, _ = strings.Cut(server, ":")
	w.logs.Go(func() { w.writeLines(ctx, out, ns, server) })
	return r, nil
}

func (w *world) writeExit(ctx context.Context, out *io.PipeWriter, pod string) {
	defer func() { _ = out.Close() }()
	for ctx.Err() == nil {
		w.mu.Lock()
		at, gone := w.exited[pod]
		w.mu.Unlock()
		if gone {
			_ = json.NewEncoder(out).Encode(tally.Exit{Server: pod, At: at})
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// writeLines is the client: 300 calls a line, in the mesh for all, else for one.
func (w *world) writeLines(ctx context.Context, out *io.PipeWriter, ns, server string) {
	const calls = 300
	w.mu.Lock()
	w.failing = 0 // nobody called before
	w.mu.Unlock()
	for seq := 1; ctx.Err() == nil; seq++ {
		time.Sleep(tally.Step)
		w.mu.Lock()
		ready := slices.Clone(w.pods[ns+"/"+server])
		l := tally.Line{Seq: seq, End: time.Now(), Calls: tally.Counts{}, Connections: 1}
		switch {
		case ns == beforeNamespace:
			l.Calls[ready[0]] = calls
		case w.split != nil:
			maps.Copy(l.Calls, w.split(calls, ready))
		default:
			for _, p := range ready {
				l.Calls[p] = calls / len(ready)
			}
		}
		for ; w.failing > 0; w.failing-- {
			l.Failed = append(l.Failed, tally.Failure{Start: time.Now().Add(-150 * time.Millisecond), End: time.Now(), Code: "Unavailable", Message: "gone"})
		}
		w.mu.Unlock()
		if json.NewEncoder(out).Encode(l) != nil {
			return
		}
	}
}

// metrics is a podReader's.
func (w *world) metrics(context.Context, string, string) ([]byte, error) {
	return []byte("process_resident_memory_bytes 16777216\nprocess_resident_memory_anon_bytes 4194304\n"), nil
}
