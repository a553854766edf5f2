// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"

	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
)

// Stop kills one daemon of a machine and keeps it down until Start, or the machine's reboot.
func (c *Cluster) Stop(ctx context.Context, name, daemon string) error {
	return c.daemon(ctx, "stop", name, daemon, machine.Hold)
}

// Start starts a daemon that was stopped, and returns when its process runs; when it answers is for the caller to find out.
func (c *Cluster) Start(ctx context.Context, name, daemon string) error {
	return c.daemon(ctx, "start", name, daemon, machine.Release)
}

func (c *Cluster) daemon(ctx context.Context, verb, name, daemon string, do func(ctx context.Context, state layout.State, machine, daemon string) error) error {
	if err := requireRoot(); err != nil {
		return err
	}
	what := fmt.Sprintf("%s %s %s", verb, name, daemon)
	unlock, err := lock(lockSocket, what)
	if err != nil {
		return err
	}
	defer unlock()
	summary, err := c.Summary()
	if err != nil {
		return err
	}
	if _, err := summary.node(name); err != nil && name != layout.ControlPlane {
		return err
	}
	return c.Progress.Step(what, func() error { return do(ctx, c.State, name, daemon) })
}
