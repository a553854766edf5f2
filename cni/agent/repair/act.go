// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// actTimeout bounds what is asked of the kernel for one pod; it answers in
// milliseconds.
const actTimeout = 15 * time.Second

// deed is what was done to a pod.
type deed struct {
	by   string               // the backend that has applied the rules; "" where they were right
	diff *redirect.Difference // the first thing that was wrong
	left backends.Left
}

// put makes a namespace match the wish. What is right is not touched, whichever
// backend it is of, and what is wrong is mended by the one that has made it: an
// agent that prefers another than the one before does not move running pods.
func put(ctx context.Context, ns *os.File, w wish, node string, all []backends.Backend) (deed, error) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	present, err := backends.Choose(name(w.backend, backends.Auto), all)
	if err != nil {
		return deed{}, fmt.Errorf("choose backend: %w", err)
	}
	wanted, err := backends.Choose(name(w.backend, node), all)
	if err != nil {
		return deed{}, fmt.Errorf("choose backend: %w", err)
	}
	var d deed
	err = netns.In(path(ns), func() error {
		err := present.Check(ctx, w.plan)
		if err == nil {
			return nil
		}
		// Where the check can't tell, Apply can: it replaces what it doesn't know.
		errors.As(err, &d.diff)
		if w.backend == "" {
			wanted = wanted.Keeping(ctx)
		}
		applied, err := wanted.Apply(ctx, w.plan)
		if applied.Changed { // else the plugin was faster
			d.by, d.left = applied.By, applied.Left
		}
		return err
	})
	return d, err
}

// strip removes the rules from a namespace, whichever backend they are of.
func strip(ctx context.Context, ns *os.File, all []backends.Backend) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	every, err := backends.Choose(backends.Auto, all)
	if err != nil {
		return fmt.Errorf("choose backend: %w", err)
	}
	return netns.In(path(ns), func() error {
		left, err := every.Remove(ctx)
		return errors.Join(append(left, err)...)
	})
}

// path leads to the namespace itself, whatever becomes of the process that it
// was opened by.
func path(ns *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", ns.Fd()) }

func name(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
