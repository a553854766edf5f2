// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/flags"
)

// wish is what an injected pod asks of its node.
type wish struct {
	plan   redirect.Plan
	choice backends.Choice
}

// decide reads a wish from a pod's annotations. A pod that is not injected, or
// that captures itself, has none (nil). The backend is the pod's, else the
// node's, else the first that works. What can't be read is an error: passing it
// on could mean a pod that nobody captures.
func decide(annotations map[string]string, backend string, all []backends.Backend) (*wish, error) {
	capture, err := contract.ParseCapture(annotations[contract.AnnotationStatus])
	if err != nil || capture.Interception != contract.InterceptionCNI {
		return nil, err
	}
	if len(capture.Redirect) == 0 {
		return nil, fmt.Errorf("read annotation %s: redirect holds no flags (the webhook writes them; create the pod anew)", contract.AnnotationStatus)
	}
	asked, err := flags.Parse(capture.Redirect)
	if err != nil {
		return nil, fmt.Errorf("read annotation %s: redirect: %w", contract.AnnotationStatus, err)
	}
	plan, err := redirect.NewPlan(asked.Config)
	if err != nil {
		return nil, fmt.Errorf("read annotation %s: redirect: %w", contract.AnnotationStatus, err)
	}
	choice, err := backends.Choose(cmp.Or(asked.Backend, backend, backends.Auto), all)
	if err != nil {
		return nil, fmt.Errorf("choose backend: %w", err)
	}
	return &wish{plan, choice}, nil
}

// apply makes the calling thread's namespace as the pod asks, and says how.
func (w wish) apply(ctx context.Context) (string, error) {
	awaitLoopback(ctx)
	done, err := w.choice.Apply(ctx, w.plan)
	if err != nil {
		return "", fmt.Errorf("apply rules: %w", err)
	}
	said := "pod is captured by " + done.By
	if !done.Changed {
		said = "pod was captured already by " + done.By
	}
	if done.Instead != nil {
		said = fmt.Sprintf("%s, since it can't be by %v", said, done.Instead)
	}
	if err := errors.Join(done.Left...); err != nil {
		said = fmt.Sprintf("%s; %v", said, err)
	}
	return said, nil
}

// check compares.
func (w wish) check(ctx context.Context) (string, error) {
	if err := w.choice.Check(ctx, w.plan); err != nil {
		return "", fmt.Errorf("check rules: %w", err)
	}
	return "pod is captured as planned", nil
}
