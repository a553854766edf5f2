// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/shuntmesh/shunt/internal/contract"
)

// daemonSet is what the agent knows of its own.
type daemonSet struct {
	uninstall string // the annotation shunt.dev/uninstall
}

// DaemonSet follows the agent's own, of which each node has a pod.
type DaemonSet struct {
	reader Reader
	log    *slog.Logger
	store  *store[daemonSet]

	mu   sync.Mutex
	last string // that Uninstall has returned
}

// NewDaemonSet returns one of which nothing is known yet; Run follows it.
func NewDaemonSet(c *Clients, log *slog.Logger) *DaemonSet {
	return &DaemonSet{reader: c.DaemonSets, log: log, store: newStore(func(object *metav1.PartialObjectMetadata) (string, daemonSet) {
		return object.Name, daemonSet{uninstall: strings.Clone(object.Annotations[contract.AnnotationUninstall])}
	})}
}

// Run follows it until ctx ends. Errors are logged and tried again.
func (d *DaemonSet) Run(ctx context.Context) error {
	follow(ctx, "the agents' DaemonSet", d.reader, fields.OneTermEqualSelector("metadata.name", contract.NodeDaemonSet), d.store, d.log)
	return nil
}

// Changed gets a value after changes; the one who receives it asks Uninstall.
func (d *DaemonSet) Changed() <-chan struct{} { return d.store.changed }

// Uninstall returns what the annotation shunt.dev/uninstall asks for: "" for
// nothing, which it also is while the DaemonSet is unknown. Of one that has gone
// the last word holds: its agents have a moment left, and must not install again.
func (d *DaemonSet) Uninstall() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if set, is := d.store.get(contract.NodeDaemonSet); is {
		d.last = set.uninstall
	}
	return d.last
}

// Gone asks the API server whether the DaemonSet is gone or being deleted. An
// error says that this can't be known.
func (d *DaemonSet) Gone(ctx context.Context, timeout time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	object, err := d.reader.Get(ctx, contract.NodeDaemonSet, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read DaemonSet %s: %w", contract.NodeDaemonSet, err)
	default:
		return object.DeletionTimestamp != nil, nil
	}
}
