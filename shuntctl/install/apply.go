// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Change is what happened to one object.
type Change struct {
	Object    string `json:"object"` // kubectl's name, such as "service/shunt-webhook"
	Namespace string `json:"namespace,omitempty"`
	Action    string `json:"action"` // created, configured, unchanged, deleted or absent
}

// Report is told each change as it happens; nil is allowed where it is taken.
type Report func(Change)

func (r Report) tell(o *unstructured.Unstructured, action string) Change {
	c := Change{Object: Name(o), Namespace: o.GetNamespace(), Action: action}
	if r != nil {
		r(c)
	}
	return c
}

// Apply writes the objects in order by server-side apply, so that a second
// Apply changes nothing and fields of others (the webhook's caBundle) stay.
func (c *Cluster) Apply(ctx context.Context, objects []*unstructured.Unstructured, report Report) ([]Change, error) {
	var changes []Change
	for _, o := range objects {
		action, err := c.applyOne(ctx, o)
		if err != nil {
			return changes, fmt.Errorf("apply %s: %w", Name(o), err)
		}
		changes = append(changes, report.tell(o, action))
	}
	return changes, nil
}

func (c *Cluster) applyOne(ctx context.Context, o *unstructured.Unstructured) (action string, err error) {
	client := c.resource(o)
	before, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		action = "created"
	case err != nil:
		return "", fmt.Errorf("read the present one: %w", err)
	case before.GetDeletionTimestamp() != nil:
		return "", errors.New("it is being deleted (wait until it is gone, then run install again)")
	}
	// Force takes over fields of a former manager, kubectl for instance; fields
	// that we do not set stay with whoever set them.
	after, err := client.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	if err != nil {
		return "", err
	}
	if action == "" {
		action = "configured"
		if before.GetResourceVersion() == after.GetResourceVersion() {
			action = "unchanged"
		}
	}
	return action, nil
}

// Delete removes the objects in the reverse of their order and, unless told
// otherwise, waits until all are gone. What is absent already is no error.
func (c *Cluster) Delete(ctx context.Context, objects []*unstructured.Unstructured, opts Options) ([]Change, error) {
	var changes []Change
	background := metav1.DeletePropagationBackground
	for i := len(objects) - 1; i >= 0; i-- {
		o := objects[i]
		action := "deleted"
		err := c.resource(o).Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		switch {
		case apierrors.IsNotFound(err):
			action = "absent"
		case err != nil:
			return changes, fmt.Errorf("delete %s: %w", Name(o), err)
		}
		changes = append(changes, opts.Report.tell(o, action))
	}
	if opts.NoWait {
		return changes, nil
	}
	opts.Progress("waiting until all is gone")
	for _, o := range objects {
		if err := c.waitGone(ctx, o); err != nil {
			return changes, err
		}
	}
	return changes, nil
}

func (c *Cluster) waitGone(ctx context.Context, o *unstructured.Unstructured) error {
	return poll(ctx, "wait until "+Name(o)+" is gone", func() (string, error) {
		left, err := c.resource(o).Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("finalizers %v hold it, or objects in it go slowly", left.GetFinalizers()), nil
	})
}

// pollInterval is short: an installation takes seconds, and so few requests are
// no load.
const pollInterval = 200 * time.Millisecond

// poll asks until pending is "" or ctx ends; then the error says what was asked
// for and what was missing last. Errors of ask are retried: an API server that
// restarts is no reason to give up.
func poll(ctx context.Context, what string, ask func() (pending string, err error)) error {
	last := ""
	for {
		pending, err := ask()
		switch {
		case err != nil && ctx.Err() == nil:
			last = err.Error()
		case err == nil && pending == "":
			return nil
		case err == nil:
			last = pending
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last seen: %s)", what, context.Cause(ctx), last)
		case <-time.After(pollInterval):
		}
	}
}
