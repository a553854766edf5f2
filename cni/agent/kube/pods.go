// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/shuntmesh/shunt/internal/contract"
)

// ErrNoPod says that there is no such pod.
var ErrNoPod = errors.New("there is no such pod")

const (
	// liveTimeout bounds the live read of one pod; the runtime waits for it.
	liveTimeout = 3 * time.Second
	// maxLive bounds how many pods are read at a time.
	maxLive = 4
)

// configHash names the UID that the kubelet gave a static pod; its mirror in the
// API has another.
const configHash = "kubernetes.io/config.hash"

// Pod is what the agent knows of a pod. It is immutable.
type Pod struct {
	UID, Namespace, Name string
	Status               string // the annotation shunt.dev/status, "" for a pod that is not injected
	Created              time.Time
}

// Pods knows the pods of one node, by UID, that have not ended: a pod of a
// StatefulSet follows another of the same name.
type Pods struct {
	node   string
	reader Reader
	of     func(namespace string) Reader
	log    *slog.Logger
	store  *store[Pod]
	live   chan struct{} // holds a token for each read under way
}

// NewPods returns an empty cache; Run fills it.
func NewPods(node string, c *Clients, log *slog.Logger) *Pods {
	return &Pods{
		node: node, reader: c.Pods, of: c.PodsOf, log: log,
		store: newStore(slim), live: make(chan struct{}, maxLive),
	}
}

// Run follows the pods until ctx ends. Errors are logged and tried again.
func (p *Pods) Run(ctx context.Context) error {
	selector := fields.AndSelectors(
		fields.OneTermEqualSelector("spec.nodeName", p.node),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)
	follow(ctx, "pods of the node", p.reader, selector, p.store, p.log)
	return nil
}

// Ready returns nil once all pods were listed. It stays so.
func (p *Pods) Ready() error {
	if !p.store.isListed() {
		return errors.New("not ready: the pods of the node are not listed yet (see the log)")
	}
	return nil
}

// Changed gets a value after changes; the one who receives it looks at Each.
func (p *Pods) Changed() <-chan struct{} { return p.store.changed }

// Each calls f with every pod. It must not call back.
func (p *Pods) Each(f func(Pod)) { p.store.each(func(_ string, pod Pod) { f(pod) }) }

// Status returns the annotation shunt.dev/status of a pod. A pod that the cache
// has not seen is read from the API server. The error wraps ErrNoPod where the
// pod is gone, or where its name is another pod's now; any other says nothing
// about the pod. Without a UID, the pod of that name is always read.
func (p *Pods) Status(ctx context.Context, uid, namespace, name string) (string, error) {
	if pod, known := p.store.get(uid); known {
		return pod.Status, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	pod, err := p.read(ctx, namespace, name)
	if err == nil && uid != "" && pod.UID != uid {
		err = ErrNoPod // the name is another's now
	}
	if err != nil {
		return "", fmt.Errorf("read pod %s/%s: %w", namespace, name, err)
	}
	return pod.Status, nil
}

// read waits for its turn: at most maxLive pods are read at a time.
func (p *Pods) read(ctx context.Context, namespace, name string) (Pod, error) {
	select {
	case p.live <- struct{}{}:
		defer func() { <-p.live }()
	case <-ctx.Done():
		return Pod{}, ctx.Err()
	}
	object, err := p.of(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Pod{}, ErrNoPod
	}
	if err != nil {
		return Pod{}, err
	}
	_, pod := slim(object)
	return pod, nil
}

// slim copies the strings: in the API server's answer they may share memory with
// all that is left out. The mirror of a static pod is not what runs: it goes by
// the UID of what does, and says nothing of capture.
func slim(object *metav1.PartialObjectMetadata) (uid string, pod Pod) {
	pod = Pod{
		UID:       strings.Clone(string(object.UID)),
		Namespace: strings.Clone(object.Namespace),
		Name:      strings.Clone(object.Name),
		Status:    strings.Clone(object.Annotations[contract.AnnotationStatus]),
		Created:   object.CreationTimestamp.Time,
	}
	if _, mirror := object.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		pod.Status = ""
		if hash := object.Annotations[configHash]; hash != "" {
			pod.UID = strings.Clone(hash)
		}
	}
	return pod.UID, pod
}
